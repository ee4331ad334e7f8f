// SPDX-License-Identifier: Apache-2.0
//
// A byte order is stated for what is no integer.

import MemoryMapping

private func program(_ map: borrowing MappedFile) throws {
  #if REJECTED
    // expected-error: requires that 'Double' conform to 'FixedWidthInteger'
    print(try map.loadLittleEndian(at: 0, as: Double.self))
  #else
    print(Double(bitPattern: try map.loadLittleEndian(at: 0, as: UInt64.self)))
  #endif
}

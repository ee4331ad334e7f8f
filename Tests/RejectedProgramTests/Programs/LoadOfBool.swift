// SPDX-License-Identifier: Apache-2.0
//
// A Bool is loaded, of which most bytes are no value.

import MemoryMapping

private func program(_ map: borrowing MappedFile) throws {
  #if REJECTED
    // expected-error: requires that 'Bool' conform to 'FixedLayout'
    print(try map.load(at: 0, as: Bool.self))
  #else
    print(try map.load(at: 0, as: UInt8.self) != 0)
  #endif
}

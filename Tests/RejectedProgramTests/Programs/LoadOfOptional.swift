// SPDX-License-Identifier: Apache-2.0
//
// An optional is loaded, which has a hidden byte.

import MemoryMapping

private func program(_ map: borrowing MappedFile) throws {
  #if REJECTED
    // expected-error: requires that 'UInt32?' conform to 'FixedLayout'
    print(try map.load(at: 0, as: UInt32?.self) ?? 0)
  #else
    print(try map.load(at: 0, as: UInt32.self))
  #endif
}

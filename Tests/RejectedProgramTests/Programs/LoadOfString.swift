// SPDX-License-Identifier: Apache-2.0
//
// A string is loaded from the bytes of a file.

import MemoryMapping

private func program(_ map: borrowing MappedFile) throws {
  #if REJECTED
    // expected-error: requires that 'String' conform to 'FixedLayout'
    print(try map.load(at: 0, as: String.self))
  #else
    print(try map.load(at: 0, as: UInt64.self))
  #endif
}

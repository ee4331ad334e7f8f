// SPDX-License-Identifier: Apache-2.0
//
// A function closes a mapping that was lent to it.

import MemoryMapping

// expected-error: is borrowed and cannot be consumed
private func program(_ map: borrowing MappedFile) throws {
  #if REJECTED
    try map.close()
  #else
    print(map.count)
  #endif
}

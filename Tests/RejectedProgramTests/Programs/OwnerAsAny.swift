// SPDX-License-Identifier: Apache-2.0
//
// A mapping as Any, which could be copied.

import MemoryMapping

private func program() throws {
  let map = try MappedFile("words.txt")
  #if REJECTED
    // expected-error: does not conform to specified type 'Copyable'
    let any: Any = map
    print(any)
  #else
    print(map.count)
  #endif
}

// SPDX-License-Identifier: Apache-2.0
//
// A second value for the same mapping.

import MemoryMapping

private func program() throws {
  // expected-error: used after consume
  let map = try MappedFile("words.txt")
  let second = map
  #if REJECTED
    print(map.count)
  #endif
  print(second.count)
}

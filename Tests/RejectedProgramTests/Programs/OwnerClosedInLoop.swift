// SPDX-License-Identifier: Apache-2.0
//
// close() in a loop that goes round again.

import MemoryMapping

private func program() throws {
  // expected-error: consumed in a loop
  let map = try MappedFile("words.txt")
  for _ in 0..<2 {
    #if REJECTED
      try map.close()
    #else
      print(map.count)
    #endif
  }
}

// SPDX-License-Identifier: Apache-2.0
//
// A task closes the mapping that its starter still has.

import MemoryMapping

private func program() throws {
  let map = try MappedFile("words.txt")
  #if REJECTED
    Task {
      print(try map.count(of: 10))
      // expected-error: cannot be consumed when captured by an escaping closure or borrowed by a non-Escapable type
      try map.close()
    }
  #else
    Task { print(try map.count(of: 10)) }
  #endif
  print(map.count)
}

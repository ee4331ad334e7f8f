// SPDX-License-Identifier: Apache-2.0
//
// A cursor is used after the scope that owned the mapping.

import MemoryMapping

private func program() throws {
  #if REJECTED
    // expected-error: escapes its scope
    let lines: LineCursor<FaultChecked>
    do {
      let map = try MappedFile("words.txt")
      lines = map.lines()
    }
    print(lines.offset)
  #else
    do {
      let map = try MappedFile("words.txt")
      let lines = map.lines()
      print(lines.offset)
    }
  #endif
}

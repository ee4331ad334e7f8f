// SPDX-License-Identifier: Apache-2.0
//
// A function maps a file and returns a cursor over it.

import MemoryMapping

#if REJECTED
  // expected-error: cannot return a ~Escapable result
  private func program() throws -> LineCursor<FaultChecked> {
    let map = try MappedFile("words.txt")
    return map.lines()
  }
#else
  private func program() throws -> Bool {
    let map = try MappedFile("words.txt")
    var lines = map.lines()
    return try lines.next() == nil
  }
#endif

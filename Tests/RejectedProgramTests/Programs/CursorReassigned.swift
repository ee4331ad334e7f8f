// SPDX-License-Identifier: Apache-2.0
//
// A variable that holds a cursor gets one over a mapping that ends earlier.
// known-issue: Swift 6.3 misses a noncopyable view that replaces another in a variable. MutableSpan has it as well.

import MemoryMapping

private func program(_ other: borrowing MappedFile) throws {
  var lines = other.lines()
  _ = try lines.next()
  do {
    let map = try MappedFile("words.txt")
    #if REJECTED
      // expected-error: escapes its scope
      lines = map.lines()
    #else
      var lines = map.lines()
      _ = try lines.next()
    #endif
  }
  _ = try lines.next()
}

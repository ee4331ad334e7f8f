// SPDX-License-Identifier: Apache-2.0
//
// A property gets a new mapping while a span of the old one lives.

import MemoryMapping

private struct Database: ~Copyable {
  var map: MappedFile
  var name: String
}
private func program(_ database: inout Database) throws {
  #if REJECTED
    let span = unsafe database.map.bytes
    // expected-error: overlapping accesses to 'database.map', but modification requires exclusive access
    database.map = try MappedFile("words.txt")
    print(span.byteCount)
  #else
    do {
      let span = unsafe database.map.bytes
      print(span.byteCount)
    }
    database.map = try MappedFile("words.txt")
  #endif
}

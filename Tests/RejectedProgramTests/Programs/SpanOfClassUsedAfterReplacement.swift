// SPDX-License-Identifier: Apache-2.0
//
// An object gets a new mapping while a span of the old one lives.

import MemoryMapping

private final class Database {
  var map: MappedFile
  init(_ map: consuming MappedFile) { self.map = map }
}
private func program(_ database: Database) throws {
  #if REJECTED
    // expected-error: escapes its scope
    let span = unsafe database.map.bytes
    database.map = try MappedFile("words.txt")
    print(span.byteCount)
  #else
    print(try database.map.withBytes { $0.byteCount })
    database.map = try MappedFile("words.txt")
  #endif
}

// SPDX-License-Identifier: Apache-2.0
//
// A value that holds the owner is given away while a span lives.

import MemoryMapping

private struct Database: ~Copyable {
  let map: MappedFile
  let name: String
}
private func take(_ database: consuming Database) {}
private func program() throws {
  let database = Database(map: try MappedFile("words.txt"), name: "words")
  #if REJECTED
    let span = unsafe database.map.bytes
    // expected-error: cannot be consumed when captured by an escaping closure or borrowed by a non-Escapable type
    take(database)
    print(span.byteCount)
  #else
    print(database.map.count)
    take(database)
  #endif
}

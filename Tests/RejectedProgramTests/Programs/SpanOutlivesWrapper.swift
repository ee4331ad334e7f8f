// SPDX-License-Identifier: Apache-2.0
//
// A value that holds the owner ends while a span lives.

import MemoryMapping

private struct Database: ~Copyable {
  let map: MappedFile
  let name: String
}
private func program() throws {
  #if REJECTED
    // expected-error: escapes its scope
    let span: RawSpan
    do {
      let database = Database(map: try MappedFile("words.txt"), name: "words")
      span = unsafe database.map.bytes
    }
    print(span.byteCount)
  #else
    do {
      let database = Database(map: try MappedFile("words.txt"), name: "words")
      let span = unsafe database.map.bytes
      print(span.byteCount)
    }
  #endif
}

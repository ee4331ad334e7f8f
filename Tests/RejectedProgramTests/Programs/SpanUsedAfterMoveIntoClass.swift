// SPDX-License-Identifier: Apache-2.0
//
// The owner moves into a class while a span lives.

import MemoryMapping

private final class Dictionary: Sendable {
  let map: MappedFile
  init(_ map: consuming MappedFile) { self.map = map }
  func count() throws -> Int { try map.withBytes { $0.byteCount } }
}
private func program() throws -> Int {
  let map = try MappedFile("words.txt")
  #if REJECTED
    let span = unsafe map.bytes
    // expected-error: cannot be consumed when captured by an escaping closure or borrowed by a non-Escapable type
    let dictionary = Dictionary(map)
    print(span.byteCount)
  #else
    let dictionary = Dictionary(map)
  #endif
  return try dictionary.count()
}

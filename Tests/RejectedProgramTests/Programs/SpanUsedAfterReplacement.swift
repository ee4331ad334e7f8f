// SPDX-License-Identifier: Apache-2.0
//
// A new mapping is put into the variable while a span of the old one lives.

import MemoryMapping

private func program(_ map: inout MappedFile) throws {
  #if REJECTED
    // expected-error: escapes its scope
    let span = unsafe map.bytes
    map = try MappedFile("words.txt")
    print(span.byteCount)
  #else
    do {
      let span = unsafe map.bytes
      print(span.byteCount)
    }
    map = try MappedFile("words.txt")
  #endif
}

// SPDX-License-Identifier: Apache-2.0
//
// A span is used after the scope that owned the mapping.

import MemoryMapping

private func program() throws {
  #if REJECTED
    // expected-error: escapes its scope
    let span: RawSpan
    do {
      let map = try MappedFile("words.txt")
      span = unsafe map.bytes
    }
    print(span.byteCount)
  #else
    do {
      let map = try MappedFile("words.txt")
      let span = unsafe map.bytes
      print(span.byteCount)
    }
  #endif
}

// SPDX-License-Identifier: Apache-2.0
//
// A function maps a file and returns the bytes.

import MemoryMapping

#if REJECTED
  // expected-error: cannot return a ~Escapable result
  private func program() throws -> RawSpan {
    let map = try MappedFile("words.txt")
    return unsafe map.bytes
  }
#else
  private func program() throws -> Int {
    let map = try MappedFile("words.txt")
    return unsafe map.bytes.byteCount
  }
#endif

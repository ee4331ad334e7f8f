// SPDX-License-Identifier: Apache-2.0
//
// A child task holds the bare span.

import MemoryMapping

private func program() async throws {
  let map = try MappedFile("words.txt")
  // expected-error: escapes its scope
  let span = unsafe map.bytes
  #if REJECTED
    async let sum = span.byteCount
  #else
    let count = span.byteCount
    async let sum = count
  #endif
  print(await sum)
}

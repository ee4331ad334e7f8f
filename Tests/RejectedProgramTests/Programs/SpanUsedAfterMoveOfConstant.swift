// SPDX-License-Identifier: Apache-2.0
//
// A constant owner is given away while a span lives.

import MemoryMapping

private func take(_ map: consuming MappedFile) {}
private func program() throws {
  let map = try MappedFile("words.txt")
  #if REJECTED
    let span = unsafe map.bytes
    // expected-error: cannot be consumed when captured by an escaping closure or borrowed by a non-Escapable type
    take(map)
    print(span.byteCount)
  #else
    print(map.count)
    take(map)
  #endif
}

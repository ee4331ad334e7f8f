// SPDX-License-Identifier: Apache-2.0
//
// close() while a span lives; the owner is a constant.

import MemoryMapping

private func program() throws {
  let map = try MappedFile("words.txt")
  #if REJECTED
    let span = unsafe map.bytes
    // expected-error: cannot be consumed when captured by an escaping closure or borrowed by a non-Escapable type
    try map.close()
    print(span.byteCount)
  #else
    print(try map.withBytes { $0.byteCount })
    try map.close()
  #endif
}

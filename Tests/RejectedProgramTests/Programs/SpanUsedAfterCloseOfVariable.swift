// SPDX-License-Identifier: Apache-2.0
//
// close() while a span lives; the owner is a variable.

import MemoryMapping

private func program() throws {
  var map = try MappedFile("words.txt")
  #if REJECTED
    let span = unsafe map.bytes
    // expected-error: overlapping accesses to 'map', but deinitialization requires exclusive access
    try map.close()
    print(span.byteCount)
  #else
    do {
      let span = unsafe map.bytes
      print(span.byteCount)
    }
    try map.close()
  #endif
}

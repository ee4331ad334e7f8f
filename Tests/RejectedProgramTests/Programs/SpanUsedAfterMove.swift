// SPDX-License-Identifier: Apache-2.0
//
// The owner is given away while a span lives.

import MemoryMapping

private func take(_ map: consuming MappedFile) {}
// expected-error: used after consume
private func program(_ map: consuming MappedFile) throws {
  #if REJECTED
    let span = unsafe map.bytes
    // expected-error: overlapping accesses to 'map', but deinitialization requires exclusive access
    take(map)
    print(span.byteCount)
  #else
    do {
      let span = unsafe map.bytes
      print(span.byteCount)
    }
    take(map)
  #endif
}

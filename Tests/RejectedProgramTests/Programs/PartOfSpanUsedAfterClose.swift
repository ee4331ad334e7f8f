// SPDX-License-Identifier: Apache-2.0
//
// A part of a span is used after close().

import MemoryMapping

private func program(_ map: consuming MappedFile) throws {
  #if REJECTED
    let part = unsafe map.bytes.extracting(first: 4)
    // expected-error: overlapping accesses to 'map', but deinitialization requires exclusive access
    try map.close()
    print(part.byteCount)
  #else
    do {
      let part = unsafe map.bytes.extracting(first: 4)
      print(part.byteCount)
    }
    try map.close()
  #endif
}

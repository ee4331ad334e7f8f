// SPDX-License-Identifier: Apache-2.0
//
// close() while a span lives; the owner came as a parameter.

import MemoryMapping

private func program(_ map: consuming MappedFile) throws {
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

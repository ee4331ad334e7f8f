// SPDX-License-Identifier: Apache-2.0
//
// close() on one of two paths to the use.

import MemoryMapping

private func program(_ map: consuming MappedFile, _ isDone: Bool) throws {
  #if REJECTED
    let span = unsafe map.bytes
    // expected-error: overlapping accesses to 'map', but deinitialization requires exclusive access
    if isDone { try map.close() }
    print(span.byteCount)
  #else
    do {
      let span = unsafe map.bytes
      print(span.byteCount)
    }
    if isDone { try map.close() }
  #endif
}

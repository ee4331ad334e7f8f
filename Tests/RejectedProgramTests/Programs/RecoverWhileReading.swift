// SPDX-License-Identifier: Apache-2.0
//
// recover() while a span lives.

import MemoryMapping

private func program(_ map: inout MappedFile) throws {
  #if REJECTED
    let span = unsafe map.bytes
    // expected-error: overlapping accesses to 'map', but modification requires exclusive access
    try map.recover()
    print(span.byteCount)
  #else
    do {
      let span = unsafe map.bytes
      print(span.byteCount)
    }
    try map.recover()
  #endif
}

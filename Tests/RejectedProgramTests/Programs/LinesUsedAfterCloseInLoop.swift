// SPDX-License-Identifier: Apache-2.0
//
// close() in the loop over the lines.

import MemoryMapping

// expected-error: consumed in a loop
private func program(_ map: consuming MappedFile) throws {
  #if REJECTED
    var lines = map.lines()
    while let line = try lines.next() {
      // expected-error: overlapping accesses to 'map', but deinitialization requires exclusive access
      if line.byteCount == 0 { try map.close() }
    }
  #else
    do {
      var lines = map.lines()
      while let line = try lines.next() {
        if line.byteCount == 0 { break }
      }
    }
    try map.close()
  #endif
}

// SPDX-License-Identifier: Apache-2.0
//
// A span in an optional is used after close().

import MemoryMapping

private func program(_ map: consuming MappedFile) throws {
  #if REJECTED
    var kept: RawSpan? = nil
    kept = unsafe map.bytes
    // expected-error: overlapping accesses to 'map', but deinitialization requires exclusive access
    try map.close()
    print(kept!.byteCount)
  #else
    do {
      var kept: RawSpan? = nil
      kept = unsafe map.bytes
      print(kept!.byteCount)
    }
    try map.close()
  #endif
}

// SPDX-License-Identifier: Apache-2.0
//
// A variable that goes through the lines is used after close().

import MemoryMapping

private func program(_ map: consuming MappedFile) throws {
  #if REJECTED
    var last = RawSpan()
    var lines = map.lines()
    while let line = try lines.next() { last = line }
    // expected-error: overlapping accesses to 'map', but deinitialization requires exclusive access
    try map.close()
    print(last.byteCount)
  #else
    do {
      var last = RawSpan()
      var lines = map.lines()
      while let line = try lines.next() { last = line }
      print(last.byteCount)
    }
    try map.close()
  #endif
}

// SPDX-License-Identifier: Apache-2.0
//
// A line is used after close(). Across next() it may be kept.

import MemoryMapping

private func program(_ map: consuming MappedFile) throws {
  #if REJECTED
    var lines = map.lines()
    let first = try lines.next()
    _ = try lines.next()
    // expected-error: overlapping accesses to 'map', but deinitialization requires exclusive access
    try map.close()
    if let first { print(first.byteCount) }
  #else
    do {
      var lines = map.lines()
      let first = try lines.next()
      _ = try lines.next()
      if let first { print(first.byteCount) }
    }
    try map.close()
  #endif
}

// SPDX-License-Identifier: Apache-2.0
//
// A cursor over lines goes on after close().

import MemoryMapping

private func program(_ map: consuming MappedFile) throws {
  var lines = map.lines()
  #if REJECTED
    // expected-error: overlapping accesses to 'map', but deinitialization requires exclusive access
    try map.close()
    while let line = try lines.next() { print(line.byteCount) }
  #else
    while let line = try lines.next() { print(line.byteCount) }
    try map.close()
  #endif
}

// SPDX-License-Identifier: Apache-2.0
//
// A cursor over chunks goes on after close().

import MemoryMapping

private func program(_ map: consuming MappedFile) throws {
  var chunks = map.chunks(of: 4096)
  #if REJECTED
    // expected-error: overlapping accesses to 'map', but deinitialization requires exclusive access
    try map.close()
    while let chunk = try chunks.next() { print(chunk.byteCount) }
  #else
    while let chunk = try chunks.next() { print(chunk.byteCount) }
    try map.close()
  #endif
}

// SPDX-License-Identifier: Apache-2.0
//
// A chunk of a cursor that is gone already is used after close().

import MemoryMapping

private func program(_ map: consuming MappedFile) throws {
  #if REJECTED
    var chunks = map.chunks(of: 4096)
    let chunk = try chunks.next()
    _ = consume chunks
    // expected-error: overlapping accesses to 'map', but deinitialization requires exclusive access
    try map.close()
    if let chunk { print(chunk.byteCount) }
  #else
    do {
      var chunks = map.chunks(of: 4096)
      let chunk = try chunks.next()
      _ = consume chunks
      if let chunk { print(chunk.byteCount) }
    }
    try map.close()
  #endif
}

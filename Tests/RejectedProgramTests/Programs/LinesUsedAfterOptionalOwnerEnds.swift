// SPDX-License-Identifier: Apache-2.0
//
// The mapping in an optional is taken out while a cursor lives.

import MemoryMapping

private func program() throws {
  var map: MappedFile? = try MappedFile("words.txt")
  #if REJECTED
    var lines = map!.lines()
    // expected-error: overlapping accesses to 'map', but modification requires exclusive access
    try map.take()?.close()
    _ = try lines.next()
  #else
    do {
      var lines = map!.lines()
      _ = try lines.next()
    }
    try map.take()?.close()
  #endif
}

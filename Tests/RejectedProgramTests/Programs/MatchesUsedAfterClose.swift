// SPDX-License-Identifier: Apache-2.0
//
// A search goes on after close().

import MemoryMapping

private func program(_ map: consuming MappedFile) throws {
  var matches = map.matches(of: "beta")
  #if REJECTED
    // expected-error: overlapping accesses to 'map', but deinitialization requires exclusive access
    try map.close()
    while let offset = try matches.next() { print(offset) }
  #else
    while let offset = try matches.next() { print(offset) }
    try map.close()
  #endif
}

// SPDX-License-Identifier: Apache-2.0
//
// recover() between two steps of a cursor.

import MemoryMapping

private func program(_ map: inout MappedFile) throws {
  var lines = map.lines()
  #if REJECTED
    // expected-error: overlapping accesses to 'map', but modification requires exclusive access
    try map.recover()
    while let line = try lines.next() { print(line.byteCount) }
  #else
    while let line = try lines.next() { print(line.byteCount) }
    try map.recover()
  #endif
}

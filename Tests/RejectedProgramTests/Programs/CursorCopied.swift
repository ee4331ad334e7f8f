// SPDX-License-Identifier: Apache-2.0
//
// Two values for one cursor.

import MemoryMapping

private func program(_ map: borrowing MappedFile) throws {
  // expected-error: used after consume
  var lines = map.lines()
  var second = lines
  #if REJECTED
    while let line = try lines.next() { print(line.byteCount) }
  #endif
  while let line = try second.next() { print(line.byteCount) }
}

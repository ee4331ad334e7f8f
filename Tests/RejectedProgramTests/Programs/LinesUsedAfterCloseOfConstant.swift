// SPDX-License-Identifier: Apache-2.0
//
// The same, and the owner is a constant.

import MemoryMapping

private func program() throws {
  let map = try MappedFile("words.txt")
  #if REJECTED
    var lines = map.lines()
    // expected-error: cannot be consumed when captured by an escaping closure or borrowed by a non-Escapable type
    try map.close()
    while let line = try lines.next() { print(line.byteCount) }
  #else
    print(try map.count(of: 10))
    try map.close()
  #endif
}

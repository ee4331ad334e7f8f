// SPDX-License-Identifier: Apache-2.0
//
// The map of a memory file is used after its own close(). After the file's it is legal.

import MemoryMapping

private func program() throws {
  let file = try MemoryFile(name: "shared", byteCount: 64)
  // expected-error: used after consume
  let map = try file.map()
  #if REJECTED
    try map.close()
  #else
    try file.close()
  #endif
  print(map.count)
}

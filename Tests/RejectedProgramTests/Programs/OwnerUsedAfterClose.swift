// SPDX-License-Identifier: Apache-2.0
//
// The mapping is read after close().

import MemoryMapping

private func program() throws {
  // expected-error: used after consume
  let map = try MappedFile("words.txt")
  #if REJECTED
    try map.close()
    print(map.count)
  #else
    print(map.count)
    try map.close()
  #endif
}

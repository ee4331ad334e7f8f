// SPDX-License-Identifier: Apache-2.0
//
// A span that went through a generic function is used after close().

import MemoryMapping

private func same<T: ~Escapable>(_ value: T) -> Int { 1 }
private func program(_ map: consuming MappedFile) throws {
  #if REJECTED
    let span = unsafe map.bytes
    // expected-error: overlapping accesses to 'map', but deinitialization requires exclusive access
    try map.close()
    print(same(span))
  #else
    do {
      let span = unsafe map.bytes
      print(same(span))
    }
    try map.close()
  #endif
}

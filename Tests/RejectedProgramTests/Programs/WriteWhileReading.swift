// SPDX-License-Identifier: Apache-2.0
//
// A span for writing while one for reading lives.

import MemoryMapping

private func program(_ memory: inout AnonymousMapping) {
  #if REJECTED
    let reading = memory.bytes
    // expected-error: overlapping accesses to 'memory', but modification requires exclusive access
    var writing = memory.mutableBytes
    writing.storeBytes(of: 1, as: UInt8.self)
    print(reading.byteCount)
  #else
    do {
      let reading = memory.bytes
      print(reading.byteCount)
    }
    var writing = memory.mutableBytes
    writing.storeBytes(of: 1, as: UInt8.self)
  #endif
}

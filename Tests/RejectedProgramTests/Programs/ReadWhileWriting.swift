// SPDX-License-Identifier: Apache-2.0
//
// A span for reading while one for writing lives.

import MemoryMapping

private func program(_ memory: inout AnonymousMapping) {
  // expected-error: overlapping accesses to 'memory', but modification requires exclusive access
  var writing = memory.mutableBytes
  #if REJECTED
    let reading = memory.bytes
    writing.storeBytes(of: 1, as: UInt8.self)
  #else
    writing.storeBytes(of: 1, as: UInt8.self)
    let reading = memory.bytes
  #endif
  print(reading.byteCount)
}

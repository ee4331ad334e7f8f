// SPDX-License-Identifier: Apache-2.0
//
// close() while a span for writing lives.

import MemoryMapping

private func program(_ memory: consuming AnonymousMapping) throws {
  // expected-error: overlapping accesses to 'memory', but modification requires exclusive access
  var bytes = memory.mutableBytes
  #if REJECTED
    try memory.close()
    bytes.storeBytes(of: 1, as: UInt8.self)
  #else
    bytes.storeBytes(of: 1, as: UInt8.self)
    try memory.close()
  #endif
}

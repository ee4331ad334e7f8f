// SPDX-License-Identifier: Apache-2.0
//
// Two spans for writing at once.

import MemoryMapping

private func program(_ memory: inout AnonymousMapping) {
  // expected-error: overlapping accesses to 'memory', but modification requires exclusive access
  var first = memory.mutableBytes
  #if REJECTED
    var second = memory.mutableBytes
    second.storeBytes(of: 1, as: UInt8.self)
    first.storeBytes(of: 1, as: UInt8.self)
  #else
    first.storeBytes(of: 1, as: UInt8.self)
    var second = memory.mutableBytes
    second.storeBytes(of: 1, as: UInt8.self)
  #endif
}

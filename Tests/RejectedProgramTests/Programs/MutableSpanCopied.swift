// SPDX-License-Identifier: Apache-2.0
//
// A span for writing is copied.

import MemoryMapping

private func program(_ memory: inout AnonymousMapping) {
  // expected-error: used after consume
  var first = memory.mutableBytes
  #if REJECTED
    var second = first
    second.storeBytes(of: 1, as: UInt8.self)
  #endif
  first.storeBytes(of: 1, as: UInt8.self)
}

// SPDX-License-Identifier: Apache-2.0
//
// A task writes through the span.

import MemoryMapping

private func program(_ memory: inout AnonymousMapping) {
  // expected-error: escapes its scope
  var bytes = memory.mutableBytes
  #if REJECTED
    Task { bytes.storeBytes(of: 1, as: UInt8.self) }
  #else
    bytes.storeBytes(of: 1, as: UInt8.self)
  #endif
}

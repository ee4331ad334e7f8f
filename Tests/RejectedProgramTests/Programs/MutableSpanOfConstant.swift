// SPDX-License-Identifier: Apache-2.0
//
// A span for writing from a constant owner.

import MemoryMapping

private func program() throws {
  #if REJECTED
    let memory = try AnonymousMapping(byteCount: 64)
  #else
    var memory = try AnonymousMapping(byteCount: 64)
  #endif
  // expected-error: cannot use mutating getter on immutable value
  var bytes = memory.mutableBytes
  bytes.storeBytes(of: 1, as: UInt8.self)
}

// SPDX-License-Identifier: Apache-2.0
//
// A span for writing is used after the owner's scope.

import MemoryMapping

private func program() throws {
  #if REJECTED
    // expected-error: escapes its scope
    var bytes: MutableRawSpan
    do {
      var memory = try AnonymousMapping(byteCount: 64)
      bytes = memory.mutableBytes
    }
    bytes.storeBytes(of: 1, as: UInt8.self)
  #else
    do {
      var memory = try AnonymousMapping(byteCount: 64)
      var bytes = memory.mutableBytes
      bytes.storeBytes(of: 1, as: UInt8.self)
    }
  #endif
}

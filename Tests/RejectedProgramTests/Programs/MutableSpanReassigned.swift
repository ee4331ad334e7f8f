// SPDX-License-Identifier: Apache-2.0
//
// A variable that holds a span for writing gets one of memory that ends earlier.
// known-issue: Swift 6.3 misses a noncopyable view that replaces another in a variable. MutableSpan has it as well.

import MemoryMapping

private func program(_ other: inout AnonymousMapping) throws {
  var bytes = other.mutableBytes
  bytes.storeBytes(of: 1, as: UInt8.self)
  do {
    var memory = try AnonymousMapping(byteCount: 64)
    #if REJECTED
      // expected-error: escapes its scope
      bytes = memory.mutableBytes
    #else
      var bytes = memory.mutableBytes
      bytes.storeBytes(of: 1, as: UInt8.self)
    #endif
  }
  bytes.storeBytes(of: 1, as: UInt8.self)
}

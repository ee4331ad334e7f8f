// SPDX-License-Identifier: Apache-2.0
//
// flush() while a span for writing lives.

import MemoryMapping

private func program(_ file: inout MutableMappedFile) throws {
  #if REJECTED
    // expected-error: overlapping accesses to 'file', but modification requires exclusive access
    var span = unsafe file.mutableBytes
    try file.flush(.data)
    span.storeBytes(of: 1, as: UInt8.self)
  #else
    do {
      var span = unsafe file.mutableBytes
      span.storeBytes(of: 1, as: UInt8.self)
    }
    try file.flush(.data)
  #endif
}

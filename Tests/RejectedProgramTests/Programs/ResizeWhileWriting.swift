// SPDX-License-Identifier: Apache-2.0
//
// resize() while a span for writing lives.

import MemoryMapping

private func program(_ file: inout MutableMappedFile) throws {
  #if REJECTED
    // expected-error: overlapping accesses to 'file', but modification requires exclusive access
    var span = unsafe file.mutableBytes
    try file.resize(to: 100)
    span.storeBytes(of: 1, as: UInt8.self)
  #else
    do {
      var span = unsafe file.mutableBytes
      span.storeBytes(of: 1, as: UInt8.self)
    }
    try file.resize(to: 100)
  #endif
}

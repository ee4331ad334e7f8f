// SPDX-License-Identifier: Apache-2.0
//
// Two spans for writing over one mapping.

import MemoryMapping

private func program(_ file: inout MutableMappedFile) throws {
  #if REJECTED
    // expected-error: overlapping accesses to 'file', but modification requires exclusive access
    var one = unsafe file.mutableBytes
    var two = unsafe file.mutableBytes
    one.storeBytes(of: 1, as: UInt8.self)
    two.storeBytes(of: 1, as: UInt8.self)
  #else
    do {
      var one = unsafe file.mutableBytes
      one.storeBytes(of: 1, as: UInt8.self)
    }
    var two = unsafe file.mutableBytes
    two.storeBytes(of: 1, as: UInt8.self)
  #endif
}

// SPDX-License-Identifier: Apache-2.0
//
// A store while a span for reading lives in a scope.

import MemoryMapping

private func program(_ file: inout MutableMappedFile) throws {
  #if REJECTED
    _ = try file.withBytes { bytes in
      // expected-error: overlapping accesses to 'file', but modification requires exclusive access
      try file.store(UInt8(1), at: 0)
      return bytes.byteCount
    }
  #else
    _ = try file.withBytes { bytes in bytes.byteCount }
    try file.store(UInt8(1), at: 0)
  #endif
}

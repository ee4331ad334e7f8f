// SPDX-License-Identifier: Apache-2.0
//
// The file is read at an offset inside a scope over its buffer.

import MemoryMapping

private func program(_ file: inout FileBytes) throws {
  #if REJECTED
    // expected-error: overlapping accesses to 'file', but modification requires exclusive access
    try file.withBytes { bytes in print(bytes.byteCount, try file.load(at: 0, as: UInt8.self)) }
  #else
    try file.withBytes { bytes in print(bytes.byteCount) }
    print(try file.load(at: 0, as: UInt8.self))
  #endif
}

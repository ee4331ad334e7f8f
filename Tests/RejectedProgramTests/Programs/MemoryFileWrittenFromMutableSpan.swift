// SPDX-License-Identifier: Apache-2.0
//
// A span for writing is the source of a write while it is also written to.

import MemoryMapping

private func program(_ memory: inout AnonymousMapping, _ file: borrowing MemoryFile) throws {
  #if REJECTED
    // expected-error: overlapping accesses to 'memory', but modification requires exclusive access
    var bytes = memory.mutableBytes
    try file.write(memory.bytes, at: 0)
    bytes.storeBytes(of: 1, as: UInt8.self)
  #else
    var bytes = memory.mutableBytes
    bytes.storeBytes(of: 1, as: UInt8.self)
    try file.write(memory.bytes, at: 0)
  #endif
}

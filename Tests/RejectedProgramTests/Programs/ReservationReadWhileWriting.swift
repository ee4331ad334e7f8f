// SPDX-License-Identifier: Apache-2.0
//
// Two scopes over the same memory, one of them for writing.

import MemoryMapping

private func program(_ space: inout AddressReservation) throws {
  #if REJECTED
    try space.withBytes(0..<4096) { reading in
      // expected-error: overlapping accesses to 'space', but modification requires exclusive access
      try? space.withMutableBytes(0..<4096) { $0.storeBytes(of: reading[0, as: UInt8.self], as: UInt8.self) }
    }
  #else
    let first = try space.withBytes(0..<4096) { reading in reading[0, as: UInt8.self] }
    try space.withMutableBytes(0..<4096) { $0.storeBytes(of: first, as: UInt8.self) }
  #endif
}

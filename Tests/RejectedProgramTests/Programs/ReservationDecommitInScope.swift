// SPDX-License-Identifier: Apache-2.0
//
// Memory is taken out inside the scope over it.

import MemoryMapping

private func program(_ space: inout AddressReservation) throws {
  #if REJECTED
    // expected-error: overlapping accesses to 'space', but modification requires exclusive access
    try space.withMutableBytes(0..<4096) { bytes in
      try? space.decommit(0..<4096)
      bytes.storeBytes(of: 1, as: UInt8.self)
    }
  #else
    try space.withMutableBytes(0..<4096) { bytes in bytes.storeBytes(of: 1, as: UInt8.self) }
    try space.decommit(0..<4096)
  #endif
}

// SPDX-License-Identifier: Apache-2.0
//
// The address of a reservation without the word unsafe.
// flags: -strict-memory-safety -Werror StrictMemorySafety

import MemoryMapping

private func program(_ space: borrowing AddressReservation) {
  #if REJECTED
    // expected-error: uses unsafe constructs but is not marked with 'unsafe'
    let address = space.baseAddress
  #else
    let address = unsafe space.baseAddress
  #endif
  print(UInt(bitPattern: address))
}

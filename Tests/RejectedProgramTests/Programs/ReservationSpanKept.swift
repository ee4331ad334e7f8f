// SPDX-License-Identifier: Apache-2.0
//
// Committed bytes are put into a variable outside of their scope.

import MemoryMapping

private func program(_ space: borrowing AddressReservation) throws {
  #if REJECTED
    // expected-error: escapes its scope
    var kept = RawSpan()
    try space.withBytes(0..<4096) { kept = $0 }
    print(kept.byteCount)
  #else
    var kept = 0
    try space.withBytes(0..<4096) { kept = $0.byteCount }
    print(kept)
  #endif
}

// SPDX-License-Identifier: Apache-2.0
//
// Memory for writing is put into a variable outside of its scope.

import MemoryMapping

private func program(_ space: inout AddressReservation) throws {
  #if REJECTED
    var kept = MutableRawSpan()
    // expected-error: requires that 'MutableRawSpan' conform to 'Escapable'
    try space.withMutableBytes(0..<4096) { bytes in swap(&kept, &bytes) }
    print(kept.byteCount)
  #else
    try space.withMutableBytes(0..<4096) { bytes in print(bytes.byteCount) }
  #endif
}

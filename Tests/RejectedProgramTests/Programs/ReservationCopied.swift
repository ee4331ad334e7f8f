// SPDX-License-Identifier: Apache-2.0
//
// Two values for one address range.

import MemoryMapping

private func program() throws {
  // expected-error: used after consume
  let space = try AddressReservation(byteCount: 1 << 20)
  let second = space
  #if REJECTED
    print(space.count)
  #endif
  print(second.count)
}

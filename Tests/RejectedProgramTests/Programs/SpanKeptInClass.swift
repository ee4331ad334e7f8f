// SPDX-License-Identifier: Apache-2.0
//
// A class has a span as a stored property.

import MemoryMapping

private final class Keeper {
  #if REJECTED
    // expected-error: cannot return a ~Escapable result
    var span = RawSpan()
  #else
    var span = 0..<0
  #endif
}
private func program(_ map: borrowing MappedFile) {
  let keeper = Keeper()
  #if REJECTED
    keeper.span = unsafe map.bytes
  #else
    keeper.span = 0..<map.count
  #endif
}

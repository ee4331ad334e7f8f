// SPDX-License-Identifier: Apache-2.0
//
// next() of a cursor that is a constant.

import MemoryMapping

private func program(_ map: borrowing MappedFile) throws {
  #if REJECTED
    let lines = map.lines()
  #else
    var lines = map.lines()
  #endif
  // expected-error: cannot use mutating member on immutable value
  _ = try lines.next()
}

// SPDX-License-Identifier: Apache-2.0
//
// A cursor made in a guarded scope is its result.

import MemoryMapping

private func program(_ map: borrowing MappedFile) throws {
  #if REJECTED
    // expected-error: no exact matches in call to instance method 'withBytes'
    let lines: LineCursor<ScopeChecked> = try map.withBytes { $0.lines() }
    print(lines.offset)
  #else
    _ = try map.withBytes { bytes in
      var lines = bytes.lines()
      return lines.next() == nil
    }
  #endif
}

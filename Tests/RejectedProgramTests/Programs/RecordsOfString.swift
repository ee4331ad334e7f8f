// SPDX-License-Identifier: Apache-2.0
//
// A cursor over strings.

import MemoryMapping

private func program(_ map: borrowing MappedFile) throws {
  #if REJECTED
    // expected-error: requires that 'String' conform to 'FixedLayout'
    let records = try map.records(of: String.self)
  #else
    let records = try map.records(of: UInt64.self)
  #endif
  print(records.count)
}

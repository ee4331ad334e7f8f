// SPDX-License-Identifier: Apache-2.0
//
// A cursor over values goes on after close().

import MemoryMapping

private func program(_ map: consuming MappedFile) throws {
  var records = try map.records(of: UInt32.self)
  #if REJECTED
    // expected-error: overlapping accesses to 'map', but deinitialization requires exclusive access
    try map.close()
    while let record = try records.next() { print(record) }
  #else
    while let record = try records.next() { print(record) }
    try map.close()
  #endif
}

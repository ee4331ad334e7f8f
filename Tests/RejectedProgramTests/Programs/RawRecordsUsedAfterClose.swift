// SPDX-License-Identifier: Apache-2.0
//
// A cursor over raw records goes on after close().

import MemoryMapping

private func program(_ map: consuming MappedFile) throws {
  var records = try map.records(stride: 12)
  #if REJECTED
    // expected-error: overlapping accesses to 'map', but deinitialization requires exclusive access
    try map.close()
    while let record = try records.next() { print(record.byteCount) }
  #else
    while let record = try records.next() { print(record.byteCount) }
    try map.close()
  #endif
}

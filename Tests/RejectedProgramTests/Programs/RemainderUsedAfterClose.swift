// SPDX-License-Identifier: Apache-2.0
//
// The bytes after the last record are used after close().

import MemoryMapping

private func program(_ map: consuming MappedFile) throws {
  #if REJECTED
    let rest = try map.records(stride: 12).remainder
    // expected-error: overlapping accesses to 'map', but deinitialization requires exclusive access
    try map.close()
    print(rest.byteCount)
  #else
    do {
      let records = try map.records(stride: 12)
      let rest = records.remainder
      print(rest.byteCount)
    }
    try map.close()
  #endif
}

// SPDX-License-Identifier: Apache-2.0
//
// A line of a guarded scope is its result. Its text may be.

import MemoryMapping

private func program(_ map: borrowing MappedFile) throws {
  #if REJECTED
    // expected-error: no exact matches in call to instance method 'withBytes'
    let first: RawSpan? = try map.withBytes { bytes in
      var lines = bytes.lines()
      return lines.next()
    }
  #else
    let first: String = try map.withBytes { bytes in
      var lines = bytes.lines()
      if let line = lines.next() { return String(decodingUTF8: line) }
      return ""
    }
  #endif
  _ = first
}

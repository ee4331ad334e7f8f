// SPDX-License-Identifier: Apache-2.0
//
// A closure that outlives the scope holds the span.

import MemoryMapping

private func program(_ map: borrowing MappedFile) throws -> () -> Int {
  // expected-error: escapes its scope
  try map.withBytes { span in
    #if REJECTED
      return { span.byteCount }
    #else
      let count = span.byteCount
      return { count }
    #endif
  }
}

// SPDX-License-Identifier: Apache-2.0
//
// A task holds the span.

import MemoryMapping

private func program(_ map: borrowing MappedFile) throws {
  // expected-error: escapes its scope
  try map.withBytes { span in
    #if REJECTED
      Task { print(span.byteCount) }
    #else
      let count = span.byteCount
      Task { print(count) }
    #endif
  }
}

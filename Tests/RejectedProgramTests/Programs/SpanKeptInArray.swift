// SPDX-License-Identifier: Apache-2.0
//
// An array of spans.

import MemoryMapping

private func program(_ map: borrowing MappedFile) throws {
  #if REJECTED
    // expected-error: does not conform to protocol 'Escapable'
    let parts: [RawSpan] = []
  #else
    let parts: [Range<Int>] = []
  #endif
  print(parts.count)
}

// SPDX-License-Identifier: Apache-2.0
//
// Pages are thrown away without the word unsafe.
// flags: -strict-memory-safety -Werror StrictMemorySafety

import MemoryMapping

private func program(_ map: borrowing MappedFile) throws {
  #if REJECTED
    // expected-error: uses unsafe constructs but is not marked with 'unsafe'
    try map.discard(.dontNeed)
  #else
    unsafe try map.discard(.dontNeed)
  #endif
}

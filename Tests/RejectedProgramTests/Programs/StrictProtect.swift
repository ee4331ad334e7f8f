// SPDX-License-Identifier: Apache-2.0
//
// Pages lose their access without the word unsafe.
// flags: -strict-memory-safety -Werror StrictMemorySafety

import MemoryMapping

private func program(_ map: borrowing MappedFile) throws {
  #if REJECTED
    // expected-error: uses unsafe constructs but is not marked with 'unsafe'
    try map.protect(.none)
  #else
    unsafe try map.protect(.none)
  #endif
}

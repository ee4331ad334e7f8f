// SPDX-License-Identifier: Apache-2.0
//
// The bare bytes without the word unsafe, where memory safety is strict.
// flags: -strict-memory-safety -Werror StrictMemorySafety

import MemoryMapping

private func program(_ map: borrowing MappedFile) {
  #if REJECTED
    // expected-error: uses unsafe constructs but is not marked with 'unsafe'
    print(map.bytes.byteCount)
  #else
    print(unsafe map.bytes.byteCount)
  #endif
}

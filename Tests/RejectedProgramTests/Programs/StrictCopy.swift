// SPDX-License-Identifier: Apache-2.0
//
// A copy to a pointer without the word unsafe.
// flags: -strict-memory-safety -Werror StrictMemorySafety

import MemoryMapping

private func program(_ map: borrowing MappedFile, _ target: UnsafeMutableRawBufferPointer) throws {
  #if REJECTED
    // expected-error: uses unsafe constructs but is not marked with 'unsafe'
    try map.copy(0..<4, into: target)
  #else
    try unsafe map.copy(0..<4, into: target)
  #endif
}

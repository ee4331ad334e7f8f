// SPDX-License-Identifier: Apache-2.0
//
// Foreign memory is adopted without the word unsafe.
// flags: -strict-memory-safety -Werror StrictMemorySafety

import MemoryMapping

private func program(_ range: UnsafeRawBufferPointer) throws {
  #if REJECTED
    // expected-error: uses unsafe constructs but is not marked with 'unsafe'
    let adopted = try FaultGuard.adopt(range)
  #else
    let adopted = unsafe try FaultGuard.adopt(range)
  #endif
  print(adopted.isLost)
}

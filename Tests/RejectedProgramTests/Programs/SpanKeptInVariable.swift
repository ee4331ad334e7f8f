// SPDX-License-Identifier: Apache-2.0
//
// The span of a guarded scope is put into a variable outside.

import MemoryMapping

private func program(_ map: borrowing MappedFile) throws {
  #if REJECTED
    // expected-error: escapes its scope
    var kept = RawSpan()
    try map.withBytes { kept = $0 }
    print(kept.byteCount)
  #else
    var kept = 0
    try map.withBytes { kept = $0.byteCount }
    print(kept)
  #endif
}

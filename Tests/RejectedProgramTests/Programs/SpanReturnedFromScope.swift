// SPDX-License-Identifier: Apache-2.0
//
// The span of a guarded scope is the scope's result.

import MemoryMapping

private func program(_ map: borrowing MappedFile) throws {
  #if REJECTED
    // expected-error: no exact matches in call to instance method 'withBytes'
    let span: RawSpan = try map.withBytes { $0 }
    print(span.byteCount)
  #else
    _ = try map.withBytes { $0.byteCount }
  #endif
}

// SPDX-License-Identifier: Apache-2.0
//
// The span of a transactional file is the scope's result.

import MemoryMapping

private func program(_ file: borrowing TransactionalFile) throws {
  #if REJECTED
    // expected-error: instance method 'withBytes' requires that 'RawSpan' conform to 'Escapable'
    let span: RawSpan = try file.withBytes { $0 }
    print(span.byteCount)
  #else
    _ = try file.withBytes { $0.byteCount }
  #endif
}

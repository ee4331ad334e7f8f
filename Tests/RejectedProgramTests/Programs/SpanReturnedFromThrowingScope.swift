// SPDX-License-Identifier: Apache-2.0
//
// The span of a guarded scope with a throwing body is its result.

import MemoryMapping

private func program(_ map: borrowing MappedFile) throws {
  // expected-error: requires that 'RawSpan' conform to 'Escapable'
  _ = try map.withBytes { span in
    _ = try span.load(at: 0, as: UInt32.self)
    #if REJECTED
      return span
    #else
      return span.byteCount
    #endif
  }
}

// SPDX-License-Identifier: Apache-2.0
//
// protect() while a span lives.

import MemoryMapping

private func program(_ memory: inout AnonymousMapping) throws {
  #if REJECTED
    let span = memory.bytes
    // expected-error: overlapping accesses to 'memory', but modification requires exclusive access
    try memory.protect(.none)
    print(span.byteCount)
  #else
    do {
      let span = memory.bytes
      print(span.byteCount)
    }
    try memory.protect(.none)
  #endif
}

// SPDX-License-Identifier: Apache-2.0
//
// A span of anonymous memory is used after its end.

import MemoryMapping

private func program() throws {
  #if REJECTED
    // expected-error: escapes its scope
    let span: RawSpan
    do {
      let memory = try AnonymousMapping(byteCount: 64)
      span = memory.bytes
    }
    print(span.byteCount)
  #else
    do {
      let memory = try AnonymousMapping(byteCount: 64)
      let span = memory.bytes
      print(span.byteCount)
    }
  #endif
}

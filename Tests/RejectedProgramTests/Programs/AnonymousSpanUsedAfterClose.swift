// SPDX-License-Identifier: Apache-2.0
//
// close() of anonymous memory while a span lives.

import MemoryMapping

private func program() throws {
  let memory = try AnonymousMapping(byteCount: 64)
  #if REJECTED
    let span = memory.bytes
    // expected-error: cannot be consumed when captured by an escaping closure or borrowed by a non-Escapable type
    try memory.close()
    print(span.byteCount)
  #else
    try memory.close()
  #endif
}

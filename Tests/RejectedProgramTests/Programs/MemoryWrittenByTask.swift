// SPDX-License-Identifier: Apache-2.0
//
// A task writes to memory that its starter still has.

import MemoryMapping

private func program() throws {
  var memory = try AnonymousMapping(byteCount: 64)
  #if REJECTED
    // expected-error: risks causing data races
    Task { try memory.discard() }
  #else
    try memory.discard()
  #endif
  print(memory.count)
}

// SPDX-License-Identifier: Apache-2.0
//
// Anonymous memory is used after close().

import MemoryMapping

private func program() throws {
  // expected-error: used after consume
  let memory = try AnonymousMapping(byteCount: 64)
  #if REJECTED
    try memory.close()
    print(memory.count)
  #else
    print(memory.count)
    try memory.close()
  #endif
}

// SPDX-License-Identifier: Apache-2.0
//
// A file is read after close().

import MemoryMapping

private func program() throws {
  // expected-error: used after consume
  let file = try FileBytes("words.txt")
  #if REJECTED
    try file.close()
    print(file.decision)
  #else
    print(file.decision)
    try file.close()
  #endif
}

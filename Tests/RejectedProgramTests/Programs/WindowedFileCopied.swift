// SPDX-License-Identifier: Apache-2.0
//
// Two values for one set of windows.

import MemoryMapping

private func program() throws {
  // expected-error: used after consume
  let file = try WindowedFile("words.txt")
  let second = file
  #if REJECTED
    print(file.count)
  #endif
  print(second.count)
}

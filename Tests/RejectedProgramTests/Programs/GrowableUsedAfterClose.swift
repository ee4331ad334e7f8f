// SPDX-License-Identifier: Apache-2.0
//
// A growable file is used after close().

import MemoryMapping

private func program() throws {
  // expected-error: used after consume
  let file = try GrowableMappedFile("data")
  #if REJECTED
    try file.close()
    print(file.count)
  #else
    print(file.count)
    try file.close()
  #endif
}

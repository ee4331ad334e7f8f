// SPDX-License-Identifier: Apache-2.0
//
// A mapping for writing is used after close().

import MemoryMapping

private func program() throws {
  // expected-error: used after consume
  let file = try MutableMappedFile("data")
  #if REJECTED
    try file.close()
    print(file.count)
  #else
    print(file.count)
    try file.close()
  #endif
}

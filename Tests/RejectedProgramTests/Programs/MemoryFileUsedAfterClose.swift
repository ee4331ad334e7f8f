// SPDX-License-Identifier: Apache-2.0
//
// A memory file is written after close().

import MemoryMapping

private func program() throws {
  // expected-error: used after consume
  let file = try MemoryFile(name: "shared", byteCount: 64)
  #if REJECTED
    try file.close()
    try file.resize(to: 128)
  #else
    try file.resize(to: 128)
    try file.close()
  #endif
}

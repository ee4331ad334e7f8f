// SPDX-License-Identifier: Apache-2.0
//
// A scope over a constant file, whose buffer could not be filled.

import MemoryMapping

private func program() throws {
  #if REJECTED
    let file = try FileBytes("words.txt")
  #else
    var file = try FileBytes("words.txt")
  #endif
  // expected-error: cannot use mutating member on immutable value
  try file.withBytes { print($0.byteCount) }
}

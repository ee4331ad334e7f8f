// SPDX-License-Identifier: Apache-2.0
//
// A chunk of a file is put into a variable outside of its scope.

import MemoryMapping

private func program(_ file: inout FileBytes) throws {
  #if REJECTED
    // expected-error: escapes its scope
    var kept = RawSpan()
    try file.forEachChunk { chunk, _ in kept = chunk }
    print(kept.byteCount)
  #else
    var kept = 0
    try file.forEachChunk { chunk, _ in kept += chunk.byteCount }
    print(kept)
  #endif
}

// SPDX-License-Identifier: Apache-2.0
//
// The file's one buffer is filled again while a scope looks at it.

import MemoryMapping

private func program(_ file: inout FileBytes) throws {
  #if REJECTED
    // expected-error: overlapping accesses to 'file', but modification requires exclusive access
    try file.withBytes { first in
      try file.forEachChunk { chunk, _ in print(first.byteCount, chunk.byteCount) }
    }
  #else
    try file.withBytes { first in print(first.byteCount) }
    try file.forEachChunk { chunk, _ in print(chunk.byteCount) }
  #endif
}

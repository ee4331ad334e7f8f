// SPDX-License-Identifier: Apache-2.0
//
// A span of a mapping without a name is returned from a closure.

import MemoryMapping

private func program() throws {
  #if REJECTED
    // expected-error: escapes its scope
    let open: () throws -> RawSpan = { unsafe try MappedFile("words.txt").bytes }
  #else
    let open: () throws -> Int = { try MappedFile("words.txt").count }
  #endif
  _ = open
}

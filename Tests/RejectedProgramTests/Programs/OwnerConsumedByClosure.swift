// SPDX-License-Identifier: Apache-2.0
//
// A closure that may run twice closes the mapping.

import MemoryMapping

private func run(_ body: @escaping () throws -> Void) {}
private func program() throws {
  let map = try MappedFile("words.txt")
  #if REJECTED
    // expected-error: cannot be consumed when captured by an escaping closure or borrowed by a non-Escapable type
    run { try map.close() }
  #else
    run { print(map.count) }
  #endif
}

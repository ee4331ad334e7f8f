// SPDX-License-Identifier: Apache-2.0
//
// An array of mappings.

import MemoryMapping

private func program() throws {
  #if REJECTED
    // expected-error: requires that 'MappedFile' conform to 'Copyable'
    let maps = [try MappedFile("words.txt")]
    print(maps[0].count)
  #else
    let maps: [1 of MappedFile] = [try MappedFile("words.txt")]
    print(maps[0].count)
  #endif
}

// SPDX-License-Identifier: Apache-2.0
//
// close() twice.

import MemoryMapping

private func program() throws {
  // expected-error: consumed more than once
  let map = try MappedFile("words.txt")
  try map.close()
  #if REJECTED
    try map.close()
  #endif
}

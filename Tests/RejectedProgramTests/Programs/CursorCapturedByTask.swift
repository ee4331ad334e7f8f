// SPDX-License-Identifier: Apache-2.0
//
// A task goes on with the cursor.

import MemoryMapping

private func program(_ map: borrowing MappedFile) throws {
  // expected-error: escapes its scope
  let lines = map.lines()
  #if REJECTED
    Task { print(lines.offset) }
  #else
    let offset = lines.offset
    Task { print(offset) }
  #endif
}

// SPDX-License-Identifier: Apache-2.0
//
// A guarded scope waits for a task.

import MemoryMapping

private func wait() async {}
private func program(_ map: borrowing MappedFile) async throws {
  #if REJECTED
    // expected-error: no exact matches in call to instance method 'withBytes'
    try map.withBytes { _ in await wait() }
  #else
    try map.withBytes { _ in }
    await wait()
  #endif
}

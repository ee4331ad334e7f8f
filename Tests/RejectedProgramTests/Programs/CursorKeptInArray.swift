// SPDX-License-Identifier: Apache-2.0
//
// An array of cursors.

import MemoryMapping

private func program() {
  #if REJECTED
    // expected-error: does not conform to protocol 'Copyable'
    let cursors: [LineCursor<FaultChecked>] = []
  #else
    let cursors: [MappedFile.Options] = []
  #endif
  print(cursors.count)
}

// SPDX-License-Identifier: Apache-2.0
//
// A transactional file is copied.

import MemoryMapping

// expected-error: 'file' is borrowed and cannot be consumed
private func program(_ file: borrowing TransactionalFile) {
  #if REJECTED
    let other = file
    print(other.count)
  #else
    print(file.count)
  #endif
}

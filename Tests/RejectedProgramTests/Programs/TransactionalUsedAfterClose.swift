// SPDX-License-Identifier: Apache-2.0
//
// A transactional file is used after close().

import MemoryMapping

private func program() throws {
  // expected-error: used after consume
  let file = try TransactionalFile("data")
  #if REJECTED
    try file.close()
    print(file.count)
  #else
    print(file.count)
    try file.close()
  #endif
}

// SPDX-License-Identifier: Apache-2.0
//
// commit() inside the scope that changes bytes.

import MemoryMapping

private func program(_ file: inout TransactionalFile) throws {
  #if REJECTED
    // expected-error: overlapping accesses to 'file', but modification requires exclusive access
    try file.withMutableBytes { bytes in
      bytes.storeBytes(of: 1, as: UInt8.self)
      try file.commit()
    }
  #else
    try file.withMutableBytes { bytes in
      bytes.storeBytes(of: 1, as: UInt8.self)
    }
    try file.commit()
  #endif
}

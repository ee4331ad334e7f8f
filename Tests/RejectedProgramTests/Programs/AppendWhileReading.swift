// SPDX-License-Identifier: Apache-2.0
//
// append() inside the scope that reads.

import MemoryMapping

private func program(_ file: inout GrowableMappedFile) throws {
  #if REJECTED
    try file.withBytes { bytes in
      // expected-error: overlapping accesses to 'file', but modification requires exclusive access
      try file.append(bytes)
    }
  #else
    let count = try file.withBytes { bytes in bytes.byteCount }
    try file.append(UInt64(count))
  #endif
}

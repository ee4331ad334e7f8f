// SPDX-License-Identifier: Apache-2.0
//
// close() inside the scope over the bytes.

import MemoryMapping

// expected-error: missing reinitialization of closure capture
private func program(_ map: consuming MappedFile) throws {
  #if REJECTED
    try map.withBytes { span in
      // expected-error: overlapping accesses to 'map', but deinitialization requires exclusive access
      try map.close()
      print(span.byteCount)
    }
  #else
    try map.withBytes { span in print(span.byteCount) }
    try map.close()
  #endif
}

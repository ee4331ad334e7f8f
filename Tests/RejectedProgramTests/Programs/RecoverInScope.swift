// SPDX-License-Identifier: Apache-2.0
//
// recover() inside the scope over the bytes.

import MemoryMapping

private func program(_ map: inout MappedFile) throws {
  #if REJECTED
    try map.withBytes { span in
      // expected-error: overlapping accesses to 'map', but modification requires exclusive access
      try map.recover()
      print(span.byteCount)
    }
  #else
    try map.withBytes { span in print(span.byteCount) }
    try map.recover()
  #endif
}

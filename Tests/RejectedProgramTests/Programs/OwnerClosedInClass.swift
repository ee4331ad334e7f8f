// SPDX-License-Identifier: Apache-2.0
//
// A method closes the mapping that the object still has.

import MemoryMapping

private final class Dictionary {
  #if REJECTED
    let map: MappedFile
  #else
    var map: MappedFile?
  #endif
  init(_ map: consuming MappedFile) { self.map = consume map }
  func close() throws {
    #if REJECTED
      // expected-error: cannot consume noncopyable stored property
      try map.close()
    #else
      try map.take()?.close()
    #endif
  }
}

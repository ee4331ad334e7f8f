// SPDX-License-Identifier: Apache-2.0
//
// A class has a cursor as a stored property.

import MemoryMapping

#if REJECTED
  private final class Reader {
    // expected-error: cannot return a ~Escapable result
    var lines: LineCursor<FaultChecked>
    init(_ map: borrowing MappedFile) { lines = map.lines() }
  }
#else
  private final class Reader {
    let map: MappedFile
    var offset = 0
    init(_ map: consuming MappedFile) { self.map = map }
  }
#endif

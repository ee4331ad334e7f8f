// SPDX-License-Identifier: Apache-2.0
//
// A struct that may escape has a span as a stored property.

import MemoryMapping

#if REJECTED
  private struct Header {
    // expected-error: cannot return a ~Escapable result
    // expected-error: non-Escapable type
    let bytes: RawSpan
  }
#else
  private struct Header {
    let bytes: Range<Int>
  }
#endif

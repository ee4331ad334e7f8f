// SPDX-License-Identifier: Apache-2.0
//
// A span is put into a global variable.

import MemoryMapping

private enum Kept {
  #if REJECTED
    // expected-error: cannot return a ~Escapable result
    @MainActor static var span = RawSpan()
  #else
    @MainActor static var span = 0..<0
  #endif
}

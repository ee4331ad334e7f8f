// SPDX-License-Identifier: Apache-2.0
//
// A window is put into a variable outside of its scope, where it may be unmapped.

import MemoryMapping

private func program(_ file: borrowing WindowedFile) throws {
  #if REJECTED
    // expected-error: escapes its scope
    var kept = RawSpan()
    try file.forEachWindow { window, _ in kept = window }
    file.dropIdleWindows()
    print(kept.byteCount)
  #else
    var kept = 0
    try file.forEachWindow { window, _ in kept = window.byteCount }
    file.dropIdleWindows()
    print(kept)
  #endif
}

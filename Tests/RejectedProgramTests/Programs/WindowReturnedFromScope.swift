// SPDX-License-Identifier: Apache-2.0
//
// A window is the result of its scope.

import MemoryMapping

private func program(_ file: borrowing WindowedFile) throws {
  #if REJECTED
    // expected-error: requires that 'RawSpan' conform to 'Escapable'
    let kept: RawSpan = try file.withWindow(containing: 0) { window, at in window }
    print(kept.byteCount)
  #else
    _ = try file.withWindow(containing: 0) { window, at in window.byteCount }
  #endif
}

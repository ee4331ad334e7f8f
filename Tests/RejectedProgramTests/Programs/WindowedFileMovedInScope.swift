// SPDX-License-Identifier: Apache-2.0
//
// The file is given away inside the scope over a window.

import MemoryMapping

private func take(_ file: consuming WindowedFile) {}
// expected-error: missing reinitialization of closure capture
private func program(_ file: consuming WindowedFile) throws {
  #if REJECTED
    // expected-error: overlapping accesses to 'file', but deinitialization requires exclusive access
    try file.forEachWindow { _, _ in take(file) }
  #else
    try file.forEachWindow { _, _ in }
    take(file)
  #endif
}

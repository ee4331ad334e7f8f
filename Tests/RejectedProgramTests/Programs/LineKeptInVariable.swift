// SPDX-License-Identifier: Apache-2.0
//
// A line of a file is put into a variable outside of its scope.

import MemoryMapping

private func program(_ file: inout FileBytes) throws {
  #if REJECTED
    // expected-error: escapes its scope
    var last = RawSpan()
    try file.forEachLine { line, _ in last = line }
    print(last.byteCount)
  #else
    var last = ""
    try file.forEachLine { line, _ in last = String(decodingUTF8: line) }
    print(last)
  #endif
}

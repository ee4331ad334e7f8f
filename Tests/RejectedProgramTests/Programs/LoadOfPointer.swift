// SPDX-License-Identifier: Apache-2.0
//
// A pointer is loaded from the bytes of a file.

import MemoryMapping

private func program(_ bytes: RawSpan) throws {
  #if REJECTED
    // expected-error: requires that 'UnsafeRawPointer' conform to 'FixedLayout'
    print(unsafe try bytes.load(at: 0, as: UnsafeRawPointer.self))
  #else
    print(try bytes.load(at: 0, as: UInt.self))
  #endif
}

// SPDX-License-Identifier: Apache-2.0
//
// A struct with a pointer names it as a field.

import MemoryMapping

private struct Tick: FixedLayout {
  #if REJECTED
    var next: UnsafeRawPointer
  #else
    var next: UInt64
  #endif
  static func describeLayout(_ layout: inout LayoutDescription<Tick>) {
    // expected-error: requires that 'UnsafeRawPointer' conform to 'FixedLayout'
    layout.field(\.next)
  }
}

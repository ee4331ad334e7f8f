// SPDX-License-Identifier: Apache-2.0
//
// A struct adopts FixedLayout and names no fields.

import MemoryMapping

// expected-error: does not conform to protocol 'FixedLayout'
private struct Tick: FixedLayout {
  var time: UInt64
  #if !REJECTED
    static func describeLayout(_ layout: inout LayoutDescription<Tick>) { layout.field(\.time) }
  #endif
}

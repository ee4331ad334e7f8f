// SPDX-License-Identifier: Apache-2.0
//
// An enum adopts FixedLayout as a field.

import MemoryMapping

private enum Side: UInt8 { case buy, sell }
private struct Tick: FixedLayout {
  #if REJECTED
    var side: Side
  #else
    var side: UInt8
  #endif
  static func describeLayout(_ layout: inout LayoutDescription<Tick>) {
    // expected-error: requires that 'Side' conform to 'FixedLayout'
    layout.field(\.side)
  }
}

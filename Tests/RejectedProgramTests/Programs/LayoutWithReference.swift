// SPDX-License-Identifier: Apache-2.0
//
// A struct with a string adopts FixedLayout.

import MemoryMapping

private struct Tick: FixedLayout {
  var time: UInt64
  #if REJECTED
    // expected-error: has non-bitwise-copyable type 'String'
    var name: String
  #else
    var name: [8 of UInt8]
  #endif
  static func describeLayout(_ layout: inout LayoutDescription<Tick>) {
    layout.field(\.time)
    #if !REJECTED
      layout.field(\.name)
    #endif
  }
}

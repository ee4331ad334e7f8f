// SPDX-License-Identifier: Apache-2.0
//
// A struct with a Bool names it as a field.

import MemoryMapping

private struct Tick: FixedLayout {
  #if REJECTED
    var isLast: Bool
  #else
    var isLast: UInt8
  #endif
  static func describeLayout(_ layout: inout LayoutDescription<Tick>) {
    // expected-error: requires that 'Bool' conform to 'FixedLayout'
    layout.field(\.isLast)
  }
}

// SPDX-License-Identifier: Apache-2.0
//
// A class adopts FixedLayout.

import MemoryMapping

#if REJECTED
  // expected-error: class cannot conform to 'BitwiseCopyable'
  private final class Tick: FixedLayout {
    var time: UInt64 = 0
    static func describeLayout(_ layout: inout LayoutDescription<Tick>) { layout.field(\.time) }
  }
#else
  private struct Tick: FixedLayout {
    var time: UInt64 = 0
    static func describeLayout(_ layout: inout LayoutDescription<Tick>) { layout.field(\.time) }
  }
#endif

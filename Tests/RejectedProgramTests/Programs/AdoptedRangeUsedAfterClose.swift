// SPDX-License-Identifier: Apache-2.0
//
// An adopted range is asked after its guard ended.

import MemoryMapping

// expected-error: used after consume
private func program(_ range: consuming AdoptedRange) {
  #if REJECTED
    range.close()
    print(range.isLost)
  #else
    print(range.isLost)
    range.close()
  #endif
}

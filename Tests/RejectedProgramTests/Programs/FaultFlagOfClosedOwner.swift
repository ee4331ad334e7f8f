// SPDX-License-Identifier: Apache-2.0
//
// The mark of a lost page is a value and may be kept; the mapping may not be asked.

import MemoryMapping

private func program() throws {
  // expected-error: used after consume
  let map = try MappedFile("words.txt")
  let flag = map.faultFlag
  try map.close()
  #if REJECTED
    try map.checkFault()
  #endif
  print(flag.isRaised)
}

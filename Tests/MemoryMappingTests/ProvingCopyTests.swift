// SPDX-License-Identifier: Apache-2.0

import CPlatform
import Testing

@Suite struct ProvingCopyTests {
  @Test func `a proving copy copies every size at every alignment and finds a zero wherever it is`() {
    let room = 400
    var source = [UInt8](repeating: 0, count: room)
    var target = [UInt8](repeating: 0, count: room)
    for size in 0...200 {
      for shift in [0, 1, 7, 15, 31] {
        for zero in [-1] + Array(0..<size) {
          for index in 0..<room { source[index] = index % 2 == 0 ? 0x01 : 0xFF }
          if zero >= 0 { source[shift + zero] = 0 }
          // A zero right behind the range must not count.
          source[shift + size] = 0
          for index in 0..<room { target[index] = 0xAA }
          let told = target.withUnsafeMutableBytes { target in
            source.withUnsafeBytes { pgw_copy_proving(target.baseAddress! + 3, $0.baseAddress! + shift, size) }
          }
          guard told.missing == 0, (told.has_zero != 0) == (zero >= 0),
            target[3..<3 + size].elementsEqual(source[shift..<shift + size]), target[2] == 0xAA,
            target[3 + size] == 0xAA
          else {
            Issue.record("size \(size) shift \(shift) zero at \(zero): \(told)")
            return
          }
        }
      }
    }
  }
}

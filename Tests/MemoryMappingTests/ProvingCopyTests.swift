// SPDX-License-Identifier: Apache-2.0

import CPlatform
import MemoryMapping
import Testing
import _TestSupport

#if canImport(Glibc)
  import Glibc
#elseif canImport(Darwin)
  import Darwin
#endif

@Suite struct ProvingCopyTests {
  @Test func `a proving copy copies every size at every alignment and finds a zero wherever it is`() {
    let room = 900
    var source = [UInt8](repeating: 0, count: room)
    var target = [UInt8](repeating: 0, count: room)
    // From 256 bytes on it goes by wide vectors, with every rest behind them.
    for size in Array(0...100) + Array(250...330) + [511, 512, 640, 703] {
      for shift in [0, 1, 7, 15, 31] {
        // Every place of the small sizes; of the large ones each lane, and the places around the blocks.
        let zeros = size <= 100 ? Array(0..<size) : (0..<size).filter { $0 < 70 || $0 % 37 == 0 || $0 > size - 70 }
        for zero in [-1] + zeros {
          // In C: the loops would take minutes under a sanitizer.
          memset(&source, 0x01, room)
          memset(&target, 0xAA, room)
          if zero >= 0 { source[shift + zero] = 0 }
          // A zero right behind the range must not count.
          source[shift + size] = 0
          let (told, isSame) = target.withUnsafeMutableBytes { target in
            source.withUnsafeBytes { source in
              let from = source.baseAddress! + shift
              return (
                pgw_copy_proving(target.baseAddress! + 3, from, size), memcmp(target.baseAddress! + 3, from, size) == 0
              )
            }
          }
          guard told.missing == 0, (told.has_zero != 0) == (zero >= 0), isSame, target[2] == 0xAA,
            target[3 + size] == 0xAA
          else {
            Issue.record("size \(size) shift \(shift) zero at \(zero): \(told)")
            return
          }
        }
      }
    }
  }

  @Test func `a load of each size gives its bytes, or tells that they are missing`() throws {
    let cut = try CutMapping(pages: 2, kept: 1)
    let page = SystemPage.size
    try FaultGuard.install()
    let routines: [(Int, (UnsafeRawPointer) -> pgw_loaded)] = [
      (1, { pgw_load_checked_1($0) }), (2, { pgw_load_checked_2($0) }), (4, { pgw_load_checked_4($0) }),
      (8, { pgw_load_checked_8($0) }),
    ]
    for (size, load) in routines {
      for at in page - 20..<page + 20 {
        let loaded = load(cut.base + at)
        let isThere = at + size <= page
        #expect((loaded.missing == 0) == isThere, "\(size) bytes at \(at)")
        guard isThere else { continue }
        let expected = PatternFile.bytes(Int64(at)..<Int64(at + size)).reversed().reduce(0) { $0 << 8 | UInt64($1) }
        #expect(loaded.value == expected, "\(size) bytes at \(at)")
      }
    }
  }
}

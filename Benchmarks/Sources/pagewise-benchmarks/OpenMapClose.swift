// SPDX-License-Identifier: Apache-2.0

import CBaselines
import MemoryMapping
import SystemPackage

@inline(never) func openMapClose(_ path: FilePath, touch: Bool, times: Int) throws -> UInt64 {
  var sum: UInt64 = 0
  for _ in 0..<times {
    let map = try MappedFile(path)
    sum &+= UInt64(map.count)
    if touch { sum &+= try map.withBytes { UInt64($0.unsafeLoad(as: UInt8.self)) } }
    try map.close()
  }
  return sum
}

/// From open to close, beside open, fstat, mmap, munmap, close.
func benchmarkOpen(_ harness: Harness, _ place: borrowing Workplace) throws {
  let times = harness.isQuick ? 20 : 2000
  for size in [512, 4096, 65_536, 1 << 20, 4 << 20] {
    let path = try place.file("open\(size)", size: size) { _ in 7 }
    let ours = FilePath(path)
    for touch in [false, true] {
      try harness.pair(
        "open", "open, map, \(touch ? "touch, " : "")close of \(size) B", units: Double(times), goal: "1.25"
      ) {
        try openMapClose(ours, touch: touch, times: times)
      } baseline: {
        base_open_map_close(path, touch ? 1 : 0, times)
      }
    }
  }
}

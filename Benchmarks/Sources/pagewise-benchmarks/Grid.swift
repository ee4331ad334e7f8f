// SPDX-License-Identifier: Apache-2.0

import CBaselines
import MemoryMapping
import SystemPackage

#if canImport(Glibc)
  @preconcurrency import Glibc
#elseif canImport(Darwin)
  import Darwin
#endif

/// The patterns of the grid. Offsets are drawn anew for each round and are the same for every strategy of it.
enum Pattern: CaseIterable {
  case whole, sequential, pagesFew, pagesMany, bytesFew, bytesMany

  var name: String {
    switch self {
    case .whole: "whole"
    case .sequential: "chunks"
    case .pagesFew: "16 x 4 KiB"
    case .pagesMany: "1000 x 4 KiB"
    case .bytesFew: "10 x 1 B"
    case .bytesMany: "100000 x 1 B"
    }
  }
  var reads: (count: Int, size: Int)? {
    switch self {
    case .whole, .sequential: nil
    case .pagesFew: (16, 4096)
    case .pagesMany: (1000, 4096)
    case .bytesFew: (10, 1)
    case .bytesMany: (100_000, 1)
    }
  }
  var access: FileBytes.AccessPattern {
    switch self {
    case .whole: .onceWhole
    case .sequential: .sequential
    case .pagesFew, .pagesMany: .random(readSize: 4096, count: reads!.count)
    case .bytesFew, .bytesMany: .random(readSize: 1, count: reads!.count)
    }
  }
}

@inline(never) func adaptive(_ path: FilePath, _ pattern: Pattern, _ offsets: [UInt64]) throws -> UInt64 {
  var file = try FileBytes(path, access: pattern.access)
  var sum: UInt64 = 0
  switch pattern {
  case .whole: sum = try file.withBytes { sumWords($0) }
  case .sequential: try file.forEachChunk(of: 64 << 10) { chunk, _ in sum &+= sumWords(chunk) }
  case .pagesFew, .pagesMany:
    try withUnsafeTemporaryAllocation(byteCount: 4096, alignment: 64) { buffer in
      for offset in offsets {
        _ = try file.copy(at: Int64(offset), into: buffer)
        sum &+= sumWords(RawSpan(_unsafeBytes: UnsafeRawBufferPointer(rebasing: buffer[..<64])))
      }
    }
  case .bytesMany:
    // As its documentation says for many values: from the span of one scope.
    sum = try file.withBytes { bytes in
      var sum: UInt64 = 0
      for offset in offsets { sum &+= UInt64(bytes[Int(offset), as: UInt8.self]) }
      return sum
    }
  case .bytesFew:
    for offset in offsets { sum &+= UInt64(try file.load(at: Int64(offset), as: UInt8.self)) }
  }
  try file.close()
  return sum
}

/// The automatic choice of FileBytes, with the time to choose, against every fixed strategy in C, in one run.
func benchmarkGrid(_ harness: Harness, _ place: borrowing Workplace, sizes asked: [Int]) throws {
  let all = [512, 4096, 16_384, 65_536, 256 << 10, 1 << 20, 4 << 20, 16 << 20, 64 << 20, 256 << 20, 1 << 30]
  let sizes = !asked.isEmpty ? asked : harness.isQuick ? [512, 65_536, 1 << 20] : all
  let names = ["map", "populate", "read", "stream"]
  var logs: [Double] = []
  var misses = 0
  for size in sizes {
    let path = try place.file("grid", size: size) { UInt8(truncatingIfNeeded: $0 % 251 + 1) }
    defer { unlink(path) }
    for isCold in [false, true] {
      for pattern in Pattern.allCases {
        if let reads = pattern.reads, size < reads.size { continue }
        let (mine, fixed) = try cell(harness, path, size: size, pattern, isCold: isCold)
        let best = fixed.indices.min { fixed[$0] < fixed[$1] }!
        let regret = mine / fixed[best]
        logs.append(log(regret))
        if harness.isDetailed, !harness.isJSON {
          let list = zip(names, fixed).filter(\.1.isFinite).map { "\($0) \(number($1 / 1000))" }.joined(separator: ", ")
          if isCold { base_evict(path) }
          let chosen = try FileBytes(FilePath(path), access: pattern.access).decision
          print("       \(list); chosen: \(chosen)")
        }
        if regret > 1.10 { misses += 1 }
        harness.add(
          Row(
            group: "grid", name: "\(sizeName(size)) \(pattern.name) \(isCold ? "cold" : "warm") (best \(names[best]))",
            ours: mine / 1000, baseline: fixed[best] / 1000, ratio: regret, low: fixed.min()! / 1000,
            high: fixed.filter(\.isFinite).max()! / 1000, unit: "us", goal: regret > 1.10 ? "1.10 MISSED" : ""))
      }
    }
  }
  let mean = exp(logs.reduce(0, +) / Double(max(1, logs.count)))
  harness.add(
    Row(
      group: "grid", name: "geometric mean of \(logs.count) cells; \(misses) above 1.10", ours: mean, baseline: 1,
      ratio: mean, low: exp(logs.min() ?? 0), high: exp(logs.max() ?? 0), unit: "regret", goal: "1.03"))
}

func sizeName(_ size: Int) -> String {
  size >= 1 << 30
    ? "\(size >> 30) GiB" : size >= 1 << 20 ? "\(size >> 20) MiB" : size >= 1024 ? "\(size >> 10) KiB" : "\(size) B"
}

/// Median times of the automatic choice and of the four fixed ones, in random order.
func cell(
  _ harness: Harness, _ path: String, size: Int, _ pattern: Pattern, isCold: Bool
) throws -> (Double, [Double]) {
  let ours = FilePath(path)
  var random = Xorshift(state: UInt64(size) &* 0x9E37_79B9_7F4A_7C15 | 1)
  var times = [[Double]](repeating: [], count: 5)
  // Half a second for a cell, three rounds at least; hopeless strategies are dropped after three.
  let budget = harness.isQuick ? 2e7 : (isCold ? 8e8 : 4e8)
  let limit = harness.isQuick ? 5 : 401
  var isDropped = [Bool](repeating: false, count: 5)
  // A stream does not give all bytes in one span.
  if pattern == .whole { isDropped[4] = true }
  let from = base_now_ns()
  var round = 0
  while round < limit, round < 4 || Double(base_now_ns() - from) < budget {
    let offsets = pattern.reads.map { reads in
      (0..<reads.count).map { _ in random.next() % UInt64(size - reads.size + 1) }
    }
    var works: [UInt64] = []
    // A new order each round: with a rotation each strategy would always meet the caches as the same other one left them.
    var order = Array(0..<5)
    for last in (1..<5).reversed() { order.swapAt(last, Int(random.next() % UInt64(last + 1))) }
    for which in order where !isDropped[which] {
      if isCold { base_evict(path) }
      let result = try timed {
        if which == 0 { return try adaptive(ours, pattern, offsets ?? []) }
        guard let offsets else { return base_whole(path, Int32(which - 1)) }
        return base_scattered(path, Int32(which - 1), offsets, offsets.count, pattern.reads!.size)
      }
      works.append(result.work)
      if round > 0 { times[which].append(result.time) }
    }
    guard Set(works).count == 1 else {
      harness.failures.append("grid/\(size) \(pattern.name): checksums \(works)")
      break
    }
    if round == 3 {
      for which in 1..<5 where !isDropped[which] && times[which].min()! > 3 * times.compactMap({ $0.min() }).min()! {
        isDropped[which] = true
      }
    }
    round += 1
  }
  return (median(times[0]), times[1...].map { $0.isEmpty ? .infinity : median($0) })
}

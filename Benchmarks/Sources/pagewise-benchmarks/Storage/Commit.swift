// SPDX-License-Identifier: Apache-2.0

import CBaselines
import MemoryMapping
import SystemPackage

#if canImport(Glibc)
  @preconcurrency import Glibc
#elseif canImport(Darwin)
  import Darwin
#endif

/// Scattered pages of one file, changed and made durable.
struct CommitCell {
  let size: Int
  let pages: Int
  let isWhole: Bool

  var name: String { "\(pages) x \(isWhole ? "4 KiB" : "8 B")" }

  /// The same for every way: the pages of one round are apart and in no order.
  func changes<R>(round: Int, _ body: (base_changes) throws -> R) rethrows -> R {
    var random = Xorshift(state: 0x9E37_79B9 + UInt64(round) * 0x1234_5677)
    for _ in 0..<8 { _ = random.next() }
    let all = UInt64(size / Int(BASE_PAGE))
    var seen = Set<UInt32>()
    var list: [UInt32] = []
    while list.count < pages {
      let page = UInt32(random.next() % all)
      if seen.insert(page).inserted { list.append(page) }
    }
    return try list.withUnsafeBufferPointer {
      try body(
        base_changes(pages: $0.baseAddress, count: $0.count, value: UInt64(round + 1) << 32, whole: isWhole ? 1 : 0))
    }
  }
}

/// Times of one way, nanoseconds, by round.
struct CommitTimes {
  var store: [Double] = []
  var commit: [Double] = []
  var both: [Double] { zip(store, commit).map(+) }
}

/// All ways over one cell, in turn, the order going round; nil when their files differ at the end.
private func time(_ harness: Harness, _ place: borrowing StoragePlace, _ cell: CommitCell) throws
  -> [CommitWay: CommitTimes]?
{
  let ways = CommitWay.allCases
  var times = [CommitWay: CommitTimes](uniqueKeysWithValues: ways.map { ($0, CommitTimes()) })
  let paths = ways.indices.map { "\(place.folder)/commit\($0)" }
  defer { remove(paths) }
  var sides: [any CommitSide] = []
  for (way, path) in zip(ways, paths) {
    guard base_fill(path, cell.size) == 0 else { throw CallFailed(path: path) }
    sides.append(try way.open(path))
  }
  let rounds = harness.isQuick ? 2 : 21
  for round in 0...rounds {
    try cell.changes(round: round) { changes in
      for turn in ways.indices {
        let index = round % 2 == 0 ? (turn + round) % ways.count : (ways.count * 2 - 1 - turn + round) % ways.count
        let start = base_now_ns()
        try sides[index].store(changes)
        let stored = base_now_ns()
        try sides[index].commit()
        let end = base_now_ns()
        try sides[index].settle(changes)
        if round == 0 { continue }  // warm-up: the journals get their size
        times[ways[index]]!.store.append(Double(stored - start))
        times[ways[index]]!.commit.append(Double(end - stored))
      }
    }
  }
  for side in sides { try side.close() }
  let digests = paths.map { base_digest($0) }
  if Set(digests).count == 1 { return times }
  harness.failures.append("commit/\(cell.name): the files of \(ways.map(\.name)) have \(digests)")
  return nil
}

/// KiB that reach the device until the commit of one way returns, median of some.
private func count(_ harness: Harness, _ place: borrowing StoragePlace, _ cell: CommitCell, _ way: CommitWay) throws
  -> Double?
{
  guard let folder = place.counted else { return nil }
  let path = "\(folder)/commit"
  defer { remove([path]) }
  guard base_fill(path, cell.size) == 0 else { throw CallFailed(path: path) }
  let side = try way.open(path)
  var found: [Double] = []
  for round in 0...(harness.isQuick ? 1 : 7) {
    try cell.changes(round: round) { changes in
      let bytes = try place.deviceKiB {
        try side.store(changes)
        try side.commit()
      }
      try side.settle(changes)
      if round > 0, let bytes { found.append(bytes) }
    }
  }
  try side.close()
  return found.isEmpty ? nil : median(found)
}

private func remove(_ paths: [String]) {
  for path in paths {
    unlink(path)
    unlink("\(path).pagewise-journal")
  }
}

/// An atomic commit of scattered pages, beside ways in C to make the same changes durable, of which only the last is atomic.
func benchmarkCommit(_ harness: Harness, _ place: borrowing StoragePlace) throws {
  let size = harness.isQuick ? 1 << 20 : 64 << 20
  harness.note("commit: a file of \(size >> 20) MiB, its page cache filled by one write")
  for note in place.notes { harness.note("commit: \(note)") }
  for isWhole in [false, true] {
    for pages in harness.isQuick ? [1, 10] : [1, 10, 100, 1000] {
      let cell = CommitCell(size: size, pages: pages, isWhole: isWhole)
      var bytes: [CommitWay: Double] = [:]
      for way in CommitWay.allCases { bytes[way] = try count(harness, place, cell, way) }
      guard let times = try time(harness, place, cell) else { continue }

      func row(_ ours: CommitWay, _ other: CommitWay, goal: String = "", whole: Bool = true) {
        let (mine, baseline) = (times[ours]!, times[other]!)
        func us(_ values: [Double]) -> [Double] { values.map { $0 / 1000 } }
        harness.add(
          "commit", "\(cell.name): \(whole ? "" : "the call alone, ")\(ours.name) | \(other.name)",
          ours: us(whole ? mine.both : mine.commit), baseline: us(whole ? baseline.both : baseline.commit), unit: "us",
          goal: goal, device: (bytes[ours], bytes[other]))
      }
      row(.commitPoint, .msync, goal: "0.5")
      row(.commitPoint, .msync, goal: "0.5", whole: false)
      row(.applied, .msync)
      row(.checkpointed, .msync)
      row(.commitPoint, .pwrite)
      row(.checkpointed, .pwrite)
      row(.commitPoint, .journal)
      if harness.isDetailed {
        for way in CommitWay.allCases {
          let (store, commit) = (median(times[way]!.store) / 1000, median(times[way]!.commit) / 1000)
          harness.note("         \(pad(way.name, 20)) stores \(number(store)) us, then \(number(commit)) us")
        }
      }
    }
  }
}

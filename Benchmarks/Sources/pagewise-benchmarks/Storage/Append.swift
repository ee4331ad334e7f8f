// SPDX-License-Identifier: Apache-2.0

import CBaselines
import MemoryMapping
import SystemPackage

#if canImport(Glibc)
  @preconcurrency import Glibc
#elseif canImport(Darwin)
  import Darwin
#endif

/// Records of one length, appended to a new file.
private struct AppendCell {
  let record: Int
  let count: Int
  /// A sync behind each of so many; 0: none.
  var syncEvery = 0
  var length: Int { record * count }
}

/// Appends the records through our type. Returns nanoseconds from the first append to the last, or the last flush.
@inline(never)
private func appendOurs(_ path: String, _ source: [UInt8], _ cell: AppendCell) throws -> UInt64 {
  var file = try GrowableMappedFile(FilePath(path))
  let bytes = source.span.bytes
  var at = 0
  var untilSync = cell.syncEvery
  let start = base_now_ns()
  for _ in 0..<cell.count {
    try file.append(bytes.extracting(at..<at + cell.record))
    at += cell.record
    if at + cell.record > bytes.byteCount { at = 0 }
    guard cell.syncEvery > 0 else { continue }
    untilSync -= 1
    if untilSync == 0 {
      try file.flush(.data)
      untilSync = cell.syncEvery
    }
  }
  return base_now_ns() - start
  // Not closed: that would sync, which the others do not.
}

private enum AppendWay: CaseIterable {
  case ours, write, fwrite, fwriteLarge, mapByPage, mapDoubling

  var name: String {
    switch self {
    case .ours: "append"
    case .write: "write(2)"
    case .fwrite: "fwrite"
    case .fwriteLarge: "fwrite, 1 MiB buffer"
    case .mapByPage: "mremap a page on"
    case .mapDoubling: "mremap doubling"
    }
  }

  func run(_ path: String, _ source: [UInt8], _ cell: AppendCell) throws -> UInt64 {
    let way: base_append_way
    switch self {
    case .ours: return try appendOurs(path, source, cell)
    case .write: way = BASE_APPEND_WRITE
    case .fwrite: way = BASE_APPEND_FWRITE
    case .fwriteLarge: way = BASE_APPEND_FWRITE_1M
    case .mapByPage: way = BASE_APPEND_MAP_PAGE
    case .mapDoubling: way = BASE_APPEND_MAP_DOUBLE
    }
    let took = base_append(
      path, Int32(way.rawValue), source, source.count, cell.record, cell.count, cell.syncEvery)
    guard took > 0 else { throw CallFailed(path: path) }
    return took
  }

  /// Where the records begin in the file.
  var header: Int { self == .ours ? 4096 : 0 }
}

@inline(never) private func readBack(_ path: FilePath) throws -> UInt64 {
  let reader = try GrowableMappedReader(path)
  return try reader.withBytes { sumWords($0) }
}

/// Appends and proves that every way has made the same file; ns per record by way and round, nil after a failure.
private func time(
  _ harness: Harness, _ place: borrowing StoragePlace, _ source: [UInt8], _ cell: AppendCell, _ ways: [AppendWay],
  rounds: Int
) throws -> [AppendWay: [Double]]? {
  var times: [AppendWay: [Double]] = [:]
  let path = "\(place.folder)/append"
  defer { unlink(path) }
  for round in 0...rounds {
    for turn in ways.indices {
      let way = ways[round % 2 == 0 ? (turn + round) % ways.count : (ways.count * 2 - 1 - turn + round) % ways.count]
      unlink(path)
      let took = try way.run(path, source, cell)
      guard base_repeats(path, way.header, cell.length, source, source.count) == 1 else {
        harness.failures.append("append/\(way.name): the file does not hold the records")
        return nil
      }
      if round > 0 { times[way, default: []].append(Double(took) / Double(cell.count)) }
    }
  }
  return times
}

/// KiB that reach the device for one sync and the records before it.
private func count(_ place: borrowing StoragePlace, _ source: [UInt8], _ cell: AppendCell, _ way: AppendWay) throws
  -> Double?
{
  guard let folder = place.counted else { return nil }
  let path = "\(folder)/append"
  defer { unlink(path) }
  let all = try place.deviceKiB { _ = try way.run(path, source, cell) }
  return all.map { $0 / Double(cell.count / cell.syncEvery) }
}

/// Appends of small records, beside the ways of C, without a sync and with one behind each thousand.
func benchmarkAppend(_ harness: Harness, _ place: borrowing StoragePlace) throws {
  var random = Xorshift(state: 7)
  var source = [UInt8](repeating: 0, count: 1 << 20)
  for index in source.indices { source[index] = UInt8(truncatingIfNeeded: random.next() >> 11) }
  harness.note("append: to a new file; from the first append until all is in the page cache, without open and close")
  for note in place.notes { harness.note("append: \(note)") }
  for (record, mib) in [(64, 64), (512, 128), (4096, 256)] {
    let length = harness.isQuick ? 1 << 20 : mib << 20
    let cell = AppendCell(record: record, count: length / record)
    #if os(Linux)
      let ways = AppendWay.allCases
    #else
      let ways = AppendWay.allCases.filter { $0 != .mapByPage && $0 != .mapDoubling }
    #endif
    guard let times = try time(harness, place, source, cell, ways, rounds: harness.isQuick ? 1 : 7) else { continue }
    for way in ways where way != .ours {
      harness.add(
        "append", "\(record) B | \(way.name)", ours: times[.ours]!, baseline: times[way]!, unit: "ns",
        goal: way == .write ? "1.0" : "")
    }
    try readBackRow(harness, place, source, cell)
    try syncRows(harness, place, source, record)
  }
}

private func readBackRow(
  _ harness: Harness, _ place: borrowing StoragePlace, _ source: [UInt8], _ cell: AppendCell
) throws {
  let (ours, plain) = ("\(place.folder)/append-ours", "\(place.folder)/append-plain")
  defer {
    unlink(ours)
    unlink(plain)
  }
  _ = try AppendWay.ours.run(ours, source, cell)
  _ = try AppendWay.write.run(plain, source, cell)
  let path = FilePath(ours)
  // The reader proves the checksum of what was never flushed when it opens, as there is no writer: that is in the time.
  try harness.pair(
    "append", "\(cell.record) B, all read back | read(2)", units: Double(cell.length) / 1_048_576, unit: "us/MiB",
    rounds: harness.isQuick ? 1 : 7, scale: 1000
  ) {
    try readBack(path)
  } baseline: {
    base_whole(plain, Int32(BASE_STREAM.rawValue))
  }
}

private func syncRows(_ harness: Harness, _ place: borrowing StoragePlace, _ source: [UInt8], _ record: Int) throws {
  let cell = AppendCell(record: record, count: harness.isQuick ? 2000 : 20_000, syncEvery: 1000)
  let ways: [AppendWay] = [.ours, .write, .fwriteLarge]
  var bytes: [AppendWay: Double] = [:]
  for way in ways { bytes[way] = try count(place, source, cell, way) }
  guard let times = try time(harness, place, source, cell, ways, rounds: harness.isQuick ? 1 : 9) else { return }
  for way in ways where way != .ours {
    harness.add(
      "append", "\(record) B, sync behind each 1000 | \(way.name)", ours: times[.ours]!, baseline: times[way]!,
      device: (bytes[.ours], bytes[way]))
  }
}

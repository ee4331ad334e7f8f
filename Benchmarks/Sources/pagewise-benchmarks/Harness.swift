// SPDX-License-Identifier: Apache-2.0

import CBaselines
import SystemPackage

#if canImport(Glibc)
  @preconcurrency import Glibc
#elseif canImport(Darwin)
  import Darwin
#endif

/// One line of the results: ours beside the baseline.
struct Row {
  var group: String
  var name: String
  /// Median time of one unit of work, nanoseconds.
  var ours: Double
  var baseline: Double
  /// Of the pairs: ours / baseline.
  var ratio: Double
  var low: Double
  var high: Double
  var unit: String
  /// What DESIGN asks for, in words.
  var goal: String
  /// KiB that reached the device for one operation; nil where nobody counted.
  var device: (ours: Double?, baseline: Double?) = (nil, nil)
}

struct WorkDiffers: Error, CustomStringConvertible {
  var description: String
}

/// Runs benchmarks in alternating pairs and checks that both sides did the same work.
final class Harness {
  let isQuick: Bool
  let isJSON: Bool
  /// Show every fixed strategy of the grid.
  let isDetailed: Bool
  private(set) var rows: [Row] = []
  /// What is no pair of times, as lines of JSON.
  private var records: [String] = []
  var failures: [String] = []

  init(isQuick: Bool, isJSON: Bool, isDetailed: Bool) {
    self.isQuick = isQuick
    self.isDetailed = isDetailed
    self.isJSON = isJSON
  }

  /// Times `ours` and `baseline` in turn, the order changing each round, and adds a row.
  ///
  /// - Parameters:
  ///   - units: how many units of work one call does; times are per unit.
  ///   - scale: nanoseconds in the unit that is shown.
  func pair(
    _ group: String, _ name: String, units: Double = 1, unit: String = "ns", goal: String = "", rounds: Int? = nil,
    scale: Double = 1, sameWork: Bool = true, ours: () throws -> UInt64, baseline: () throws -> UInt64
  ) rethrows {
    let count = rounds ?? (isQuick ? 3 : 31)
    var first: [Double] = []
    var second: [Double] = []
    for round in 0...count {
      var mine: (time: Double, work: UInt64) = (0, 0)
      var other: (time: Double, work: UInt64) = (0, 0)
      if round % 2 == 0 {
        mine = try timed(ours)
        other = try timed(baseline)
      } else {
        other = try timed(baseline)
        mine = try timed(ours)
      }
      if sameWork, mine.work != other.work {
        failures.append("\(group)/\(name): ours did \(mine.work), the baseline \(other.work)")
        return
      }
      if round == 0 { continue }  // warm-up
      first.append(mine.time / units / scale)
      second.append(other.time / units / scale)
    }
    add(group, name, ours: first, baseline: second, unit: unit, goal: goal)
  }

  /// Adds a row from times that were taken already: those with the same index are a pair.
  func add(
    _ group: String, _ name: String, ours: [Double], baseline: [Double], unit: String = "ns", goal: String = "",
    device: (ours: Double?, baseline: Double?) = (nil, nil)
  ) {
    let ratios = zip(ours, baseline).map { $0 / max($1, 0.001) }.sorted()
    add(
      Row(
        group: group, name: name, ours: median(ours), baseline: median(baseline), ratio: ratios[ratios.count / 2],
        low: ratios[ratios.count / 10], high: ratios[ratios.count * 9 / 10], unit: unit, goal: goal, device: device))
  }

  /// Words about the rows that follow.
  func note(_ text: String) {
    guard !isJSON else { return }
    print(text)
    fflush(nil)
  }

  func add(_ row: Row) {
    rows.append(row)
    guard !isJSON else { return }
    print(
      pad(row.group, 7) + pad(row.name, 50) + left(number(row.ours), 11) + left(number(row.baseline), 11) + " "
        + pad(row.unit, 8) + left(number(row.ratio), 7) + "  (\(number(row.low))–\(number(row.high)))"
        + (row.goal.isEmpty ? "" : "  goal \(row.goal)") + deviceText(row))
  }

  enum Value {
    case text(String)
    case numbers([Double])
  }

  /// For JSON: a row of a table that has columns of its own.
  func addRecord(_ fields: [(String, Value)]) {
    let texts = fields.map { name, value in
      switch value {
      case .text(let text): "\"\(name)\":\"\(text)\""
      case .numbers(let numbers): "\"\(name)\":[\(numbers.map { "\($0)" }.joined(separator: ","))]"
      }
    }
    records.append("{" + texts.joined(separator: ",") + "}")
  }

  private func deviceText(_ row: Row) -> String {
    guard let ours = row.device.ours, let baseline = row.device.baseline else { return "" }
    return "  device \(number(ours)) / \(number(baseline)) KiB"
  }

  func printHeader() {
    guard !isJSON else { return }
    print(
      pad("group", 7) + pad("what", 50) + left("ours", 11) + left("C", 11) + " " + pad("unit", 8) + left("ratio", 7))
  }

  func printJSON() {
    let lines = rows.map { row in
      "{\"group\":\"\(row.group)\",\"name\":\"\(row.name)\",\"ours\":\(row.ours),\"baseline\":\(row.baseline),"
        + "\"unit\":\"\(row.unit)\",\"ratio\":\(row.ratio),\"ratio_p10\":\(row.low),\"ratio_p90\":\(row.high)"
        + (row.device.ours.map { ",\"device_kib_ours\":\($0)" } ?? "")
        + (row.device.baseline.map { ",\"device_kib_baseline\":\($0)" } ?? "") + "}"
    }
    print("[\n" + (lines + records).joined(separator: ",\n") + "\n]")
  }
}

@inline(never)
func timed(_ body: () throws -> UInt64) rethrows -> (time: Double, work: UInt64) {
  let from = base_now_ns()
  let work = try body()
  return (Double(base_now_ns() - from), work)
}

func median(_ values: [Double]) -> Double { values.sorted()[values.count / 2] }
func pad(_ text: String, _ width: Int) -> String { text + String(repeating: " ", count: max(1, width - text.count)) }
func left(_ text: String, _ width: Int) -> String { String(repeating: " ", count: max(1, width - text.count)) + text }

func number(_ value: Double) -> String {
  if value.magnitude >= 1000 { return "\(Int(value.rounded()))" }
  let scale: Double = value.magnitude >= 100 ? 10 : (value.magnitude >= 10 ? 100 : 1000)
  return "\((value * scale).rounded() / scale)"
}

/// A folder for the files of one run, removed at the end.
struct Workplace: ~Copyable {
  let path: String

  init() {
    let base = getenv("TMPDIR").map { String(cString: $0) } ?? "/tmp"
    path = "\(base)/pagewise-benchmarks-\(getpid())"
    mkdir(path, 0o700)
  }

  deinit {
    if let folder = opendir(path) {
      while let entry = readdir(folder) {
        let name = withUnsafeBytes(of: entry.pointee.d_name) { String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self) }
        if name != ".", name != ".." { unlink("\(path)/\(name)") }
      }
      closedir(folder)
    }
    rmdir(path)
  }

  /// Writes a file in calls of 1 MiB; `byte` gives the content at an offset within a piece.
  borrowing func file(_ name: String, size: Int, _ byte: (Int) -> UInt8) throws -> String {
    let full = "\(path)/\(name)"
    let file = try FileDescriptor.open(
      FilePath(full), .writeOnly, options: [.create, .truncate], permissions: .ownerReadWrite)
    let piece = [UInt8](unsafeUninitializedCapacity: min(size, 1 << 20)) { buffer, count in
      count = min(size, 1 << 20)
      for index in 0..<count { buffer.initializeElement(at: index, to: byte(index)) }
    }
    var done = 0
    while done < size {
      done += try piece.withUnsafeBytes {
        try file.writeAll(UnsafeRawBufferPointer(rebasing: $0[..<min(piece.count, size - done)]))
      }
    }
    _ = fsync(file.rawValue)
    try file.close()
    return full
  }
}

/// A repeatable source of random numbers.
struct Xorshift {
  var state: UInt64
  mutating func next() -> UInt64 {
    state ^= state << 13
    state ^= state >> 7
    state ^= state << 17
    return state
  }
}

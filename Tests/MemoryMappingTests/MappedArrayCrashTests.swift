// SPDX-License-Identifier: Apache-2.0

import MemoryMapping
import SystemPackage
import Testing
import _TestSupport

#if canImport(Glibc)
  import Glibc
#elseif canImport(Darwin)
  import Darwin
#endif

/// What a power cut leaves of a MappedArray, by enumeration: see CrashLog for the model.
///
/// The promise in place: the number of rows is one that was committed, not older than the last that was acknowledged and not newer than
/// the last that was begun, and the rows below it are whole. As .atomic: the content is that of such a commit.
@Suite(.serialized) struct MappedArrayCrashTests {
  struct Scenario: Sendable, CustomTestStringConvertible {
    var mode: MappedArrayMode
    var name: String
    /// Rows that each commit adds; negative ones are taken away.
    var steps: [Int]
    var width = 1
    var isNew = false
    var headerSize = 0
    var testDescription: String { "\(name), \(mode)" }
  }

  static let scenarios: [Scenario] = MappedArrayTests.modes.flatMap { mode in
    [
      Scenario(mode: mode, name: "appends", steps: [1, 5, 3, 90, 1, 300, 2]),
      Scenario(mode: mode, name: "rows of seven", steps: [3, 1, 40, 2, 200], width: 7),
      Scenario(mode: mode, name: "growth and shrinking", steps: [100, -60, 5, 300, -340, 2, 1]),
      Scenario(mode: mode, name: "a new array", steps: [3, 4], isNew: true),
      Scenario(mode: mode, name: "a new array with a long header", steps: [3, 4], isNew: true, headerSize: 1500),
    ]
  }

  struct Recording {
    var log: CrashLog
    /// Elements after each commit.
    var states: [[UInt32]]
    var path: FilePath
  }

  /// The file's bytes as every process sees them, read anew at each call.
  final class Content {
    let path: FilePath
    private var buffer = UnsafeMutableRawBufferPointer.allocate(byteCount: 1 << 20, alignment: 16)
    init(_ path: FilePath) { self.path = path }
    deinit { buffer.deallocate() }

    func now() -> UnsafeRawBufferPointer {
      guard let file = try? FileDescriptor.open(path, .readOnly) else {
        return UnsafeRawBufferPointer(rebasing: buffer[..<0])
      }
      defer { try? file.close() }
      let count = (try? file.read(fromAbsoluteOffset: 0, into: buffer)) ?? 0
      precondition(count < buffer.count, "a scenario's file is smaller than the buffer")
      return UnsafeRawBufferPointer(rebasing: buffer[..<count])
    }
  }

  /// Marks: number * 2 when a commit begins, * 2 + 1 when it is acknowledged.
  static func record(
    _ scenario: Scenario, in folder: FilePath,
    answering answer: @escaping (CallWatch.Call) -> CallWatch.Answer = { _ in .perform }
  ) throws -> Recording {
    let path = folder.appending("data")
    let shape = scenario.width == 1 ? [0] : [0, scenario.width]
    var state: [UInt32] = []
    if !scenario.isNew {
      var array = try MappedArray<UInt32>(path, creating: .exclusive(shape: shape), mode: scenario.mode)
      state = (1...UInt32(7 * scenario.width)).map { $0 }
      try array.append(contentsOf: state.span)
      try array.commit()
      try array.close()
    }
    let log = try CrashLog(folder.string)
    let content = Content(path)
    if scenario.mode == .inPlace { log.mapped = { [("data", content.now())] } }
    var states: [[UInt32]] = []
    try log.record(answering: answer) {
      var array = try MappedArrayTests.reopen(
        path, UInt32.self, creating: .ifMissing(shape: shape), mode: scenario.mode,
        minimumHeaderSize: scenario.headerSize)
      states = [state]
      log.mark(1)
      for (index, step) in scenario.steps.enumerated() {
        let number = index + 1
        let added = (0..<max(0, step) * scenario.width).map { UInt32(number) << 16 | UInt32($0 + 1) }
        var next = state
        if step < 0 { next.removeLast(-step * scenario.width) }
        next += added
        states.append(next)
        log.mark(number * 2)
        if step < 0 { try array.resize(to: array.rowCount + step) }
        // In two parts, as a program does.
        let half = added.count / scenario.width / 2 * scenario.width
        try array.append(contentsOf: Array(added[..<half]))
        try array.append(contentsOf: Array(added[half...]))
        if scenario.mode == .atomic, !next.isEmpty {
          next[0] = UInt32(number)
          states[number][0] = UInt32(number)
          try array.store(UInt32(number), at: 0)
        }
        try array.commit()
        log.mark(number * 2 + 1)
        state = next
      }
      try array.close()
    }
    return Recording(log: log, states: states, path: path)
  }

  static func check(
    _ recording: Recording, _ scenario: Scenario, random: Int, seed: UInt64, complaints: inout [String],
    stopAtFirst: Bool = false
  ) throws -> Int {
    struct Enough: Error {}
    var count = 0
    do {
      try recording.log.forEachCrashState(random: random, seed: seed) { state in
        count += 1
        try state.materialize(in: recording.path.removingLastComponent().string)
        let acknowledged = (state.marks.filter { $0 % 2 == 1 }.max() ?? -1) / 2
        let begun = (state.marks.max() ?? 0) / 2
        if let complaint = try complaint(recording, scenario, state, acknowledged, begun, reopens: count % 5 == 0) {
          complaints.append("\(state.description): \(complaint)")
          if stopAtFirst { throw Enough() }
        }
      }
    } catch is Enough {}
    return count
  }

  private static func complaint(
    _ recording: Recording, _ scenario: Scenario, _ state: CrashState, _ acknowledged: Int, _ begun: Int, reopens: Bool
  ) throws -> String? {
    let path = recording.path
    if scenario.isNew, state.files["data"] == nil {
      return state.marks.contains(1) ? "the file is gone" : nil
    }
    var options = TransactionalFile.Options()
    if scenario.isNew { options.strangeJournal = .replay }
    let shape = scenario.width == 1 ? [0] : [0, scenario.width]
    do {
      if scenario.mode == .inPlace, state.marks.contains(1) {
        // What NumPy would see, before any recovery.
        let found = try MappedArrayReader<UInt32>(path).elements()
        guard acknowledged...begun ~= recording.states.firstIndex(of: found) ?? -1 else {
          return "\(found.count) elements that were never committed, between \(acknowledged) and \(begun)"
        }
      }
      // A new array may be opened again from any state of its making.
      let creation: MappedArrayCreation = scenario.isNew && !state.marks.contains(1) ? .ifMissing(shape: shape) : .never
      var array = try MappedArrayTests.reopen(
        path, UInt32.self, creating: creation, mode: scenario.mode, minimumHeaderSize: scenario.headerSize,
        transactions: options)
      let found = try MappedArrayTests.all(array)
      guard
        acknowledged...begun ~= recording.states.lastIndex(of: found) ?? -1
          || acknowledged...begun ~= recording.states.firstIndex(of: found) ?? -1 || acknowledged < 0 && found.isEmpty
      else { return "a torn state of \(found.count) elements, between \(acknowledged) and \(begun)" }
      if reopens {
        let row = [UInt32](repeating: 0xFFFF_FFFF, count: scenario.width)
        try array.resize(to: array.rowCount + 2)
        try array.append(contentsOf: row.span)
        try array.commit()
        try array.close()
        let wanted = found + [UInt32](repeating: 0, count: 2 * scenario.width) + row
        if try MappedArrayTests.stored(path, UInt32.self) != wanted { return "it does not go on growing" }
      }
      return nil
    } catch { return "cannot be opened: \(error)" }
  }

  @Test(arguments: scenarios)
  func `after a power cut at any point the count is a committed one and every row below it is whole`(
    _ scenario: Scenario
  ) throws {
    var total = 0
    for seed in 1...(TransactionalCrashTests.isLong ? 24 : 1) as ClosedRange<UInt64> {
      let folder = try TemporaryDirectory(in: TransactionalCrashTests.shm())
      let recording = try Self.record(scenario, in: folder.path)
      var complaints: [String] = []
      total += try withWatchdog("crash states of \(scenario.name)", seconds: 600) {
        try Self.check(
          recording, scenario, random: TransactionalCrashTests.isLong || scenario.mode == .inPlace ? 24 : 3, seed: seed,
          complaints: &complaints)
      }
      #expect(complaints.isEmpty, "\(complaints.count) of \(total) states, first: \(complaints.first ?? "")")
      if !complaints.isEmpty { break }
    }
    print("crash states of a MappedArray, \(scenario.testDescription): \(total), all whole")
  }

  /// Bugs that are planted by answering calls, or by changing what was recorded.
  enum Bug: String, CaseIterable, Sendable {
    case countBeforeTheElements, countWithoutSync, countInTwoWrites, newHeaderBeforeItsArray
  }

  @Test(arguments: Bug.allCases) func `a planted bug is found by the enumeration`(_ bug: Bug) throws {
    var scenario = Scenario(mode: .inPlace, name: bug.rawValue, steps: [1, 90, 30, 3])
    // From 98 to 101: every digit changes, and the two pieces together could say 198.
    if bug == .countInTwoWrites { scenario.steps = [91, 3] }
    if bug == .newHeaderBeforeItsArray { (scenario.isNew, scenario.headerSize) = (true, 1500) }
    var found = false
    for seed in 1...10 as ClosedRange<UInt64> where !found {
      let folder = try TemporaryDirectory(in: TransactionalCrashTests.shm())
      var syncs = 0
      let recording = try Self.record(scenario, in: folder.path) { call in
        guard call.kind == .syncData || call.kind == .syncFile else { return .perform }
        defer { syncs += 1 }
        // A commit syncs the elements, then the count; so does the making of an array.
        return switch bug {
        case .countBeforeTheElements: syncs % 2 == 0 ? .pretend : .perform
        case .countWithoutSync: syncs % 2 == 1 ? .pretend : .perform
        case .newHeaderBeforeItsArray: syncs == 0 ? .pretend : .perform
        case .countInTwoWrites: .perform
        }
      }
      if bug == .countInTwoWrites {
        recording.log.rearrange { events in
          events = events.flatMap { event in
            guard case .write(let file, let offset, let bytes) = event, bytes.count == 8, offset < 128 else {
              return [event]
            }
            return [
              .write(file: file, offset: offset, bytes: Array(bytes[..<6])),
              .write(file: file, offset: offset + 6, bytes: Array(bytes[6...])),
            ]
          }
        }
      }
      var complaints: [String] = []
      _ = try Self.check(recording, scenario, random: 12, seed: seed, complaints: &complaints, stopAtFirst: true)
      found = !complaints.isEmpty
      if found { print("planted bug \(bug): \(complaints[0].prefix(300))") }
    }
    #expect(found)
  }
}

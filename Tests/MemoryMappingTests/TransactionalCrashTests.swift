// SPDX-License-Identifier: Apache-2.0

import CPlatform
import MemoryMapping
import SystemPackage
import Testing
import _CTestSupport
import _TestSupport

#if canImport(Glibc)
  import Glibc
#elseif canImport(Darwin)
  import Darwin
#endif

/// What a power cut leaves of a TransactionalFile, by enumeration: see CrashLog for the model.
///
/// The promise: the next open finds a state that was committed, whole; one that is not older than the last that was acknowledged
/// before the cut, and not newer than the last that was begun.
@Suite(.serialized) struct TransactionalCrashTests {
  static let isLong = getenv("PAGEWISE_LONG") != nil

  /// What is written, as a table.
  struct Scenario: Sendable, CustomTestStringConvertible {
    var name: String
    var size = 3 * 4096 + 100
    var commits = 6
    var growth = 0
    var application = TransactionalFile.Options.Application.atCommit
    var journalLimit = 16 << 20
    /// Every how-manieth commit is durable; the others wait for the next.
    var durableEvery = 1
    var isNew = false
    /// The writer ends without a close in the middle, and another one goes on: what it finds may be in the page cache alone.
    var reopens = false
    var testDescription: String { name }
  }

  static let scenarios = [
    Scenario(name: "scattered bytes"),
    Scenario(name: "growth", growth: 3000),
    Scenario(name: "group commit", commits: 8, durableEvery: 3),
    Scenario(name: "deferred application", growth: 500, application: .atCheckpoint, journalLimit: 12_000),
    Scenario(name: "a journal that fills", commits: 8, journalLimit: 9_000),
    Scenario(name: "a writer that is killed, and the next", commits: 6, growth: 200, durableEvery: 2, reopens: true),
    Scenario(name: "killed where the journal fills", commits: 8, journalLimit: 9_000, reopens: true),
    Scenario(name: "a new file", commits: 3, growth: 100, isNew: true),
  ]

  /// A recorded run of a scenario.
  struct Recording {
    var log: CrashLog
    /// Content of each generation.
    var states: [[UInt8]]
    var folder: FilePath
  }

  /// Marks: generation * 2 when it begins, * 2 + 1 when it is acknowledged as durable.
  static func record(
    _ scenario: Scenario, in folder: FilePath, seed: UInt64,
    answering answer: @escaping (CallWatch.Call) -> CallWatch.Answer = { _ in .perform }
  ) throws -> Recording {
    let path = folder.appending("data")
    if !scenario.isNew {
      // What is there before: a state of its own, properly closed.
      var file = try TransactionalFile(path, creating: .exclusive(size: Int64(scenario.size)))
      try file.withTransaction { $0.withUnsafeMutableBytes { _ = $0.initializeMemory(as: UInt8.self, repeating: 200) } }
      try file.close()
    }
    let log = try CrashLog(folder.string)
    var states: [[UInt8]] = []
    var random = Random(seed: seed)
    var options = TransactionalFile.Options()
    options.application = scenario.application
    options.journalLimit = scenario.journalLimit
    try log.record(answering: answer) {
      var file = try TransactionalFile(path, creating: .ifMissing(size: Int64(scenario.size)), options: options)
      let first = file.generation
      states = [try TransactionalFileTests.bytes(file)]
      log.mark(1)
      var content = states[0]
      for number in 1...scenario.commits {
        if scenario.reopens, number == scenario.commits / 2 + 1 {
          // As after a kill: what was not synced stays in the page cache, and is what the next one finds.
          _ = consume file
          file = try TransactionalFile(path, options: options)
        }
        content += [UInt8](repeating: 0, count: scenario.growth)
        var changes: [(Int, [UInt8])] = []
        for _ in 0..<1 + random.below(6) {
          let length = random.below(4) == 0 ? 1 + random.below(2000) : 1 + random.below(9)
          let start = random.below(max(1, content.count - length))
          // No zeros: growth that is not there must not look like bytes that are.
          // And few values, so that a byte often gets back what it had.
          let bytes = (0..<length).map { _ in UInt8(1 + random.below(2)) }
          changes.append((start, bytes))
          content.replaceSubrange(start..<start + length, with: bytes)
        }
        states.append(content)
        log.mark(number * 2)
        try file.begin()
        if scenario.growth > 0 { try file.resize(to: content.count) }
        try file.withMutableBytes { span in
          span.withUnsafeMutableBytes { all in
            for (start, bytes) in changes {
              UnsafeMutableRawBufferPointer(rebasing: all[start...]).copyBytes(from: bytes)
            }
          }
        }
        let isDurable = number % scenario.durableEvery == 0
        let generation = try file.commit(isDurable ? .durable : .withNext)
        #expect(generation == first + UInt64(number))
        if isDurable { log.mark(number * 2 + 1) }
      }
      try file.close()
      log.mark(scenario.commits * 2 + 1)
    }
    return Recording(log: log, states: states, folder: folder)
  }

  /// Builds every state, opens it, and tells what is wrong. Returns the number of states.
  static func check(
    _ recording: Recording, isNew: Bool, random: Int, seed: UInt64, complaints: inout [String],
    stopAtFirst: Bool = false
  ) throws -> Int {
    struct Enough: Error {}
    let path = recording.folder.appending("data")
    var count = 0
    do {
      try recording.log.forEachCrashState(random: random, seed: seed) { state in
        count += 1
        try state.materialize(in: recording.folder.string)
        let acknowledged = (state.marks.filter { $0 % 2 == 1 }.max() ?? -1) / 2
        let begun = (state.marks.max() ?? 0) / 2
        var complaint: String?
        do {
          var options = TransactionalFile.Options()
          // The files of a new state have other inodes.
          if isNew { options.strangeJournal = .replay }
          if isNew, state.files["data"] == nil {
            // Its name was not durable yet; then nothing was acknowledged.
            if state.marks.contains(1) { complaint = "the file is gone" }
          } else {
            let file = try TransactionalFile(path, options: options)
            let content = try TransactionalFileTests.bytes(file)
            // Two states can be the same.
            if recording.states[acknowledged...max(acknowledged, begun)].contains(content) {
            } else if let found = recording.states.lastIndex(of: content) {
              complaint = "the state is that of \(found); \(acknowledged) was acknowledged, \(begun) begun"
            } else if isNew, !state.marks.contains(1), content.allSatisfy({ $0 == 0 }) {
              // A file that was being made may have any size yet.
            } else {
              complaint = "a torn state: \(content.count) bytes"
            }
            // Once more: the recovery itself must have left a good state.
            if count % 7 == 0 {
              try file.close()
              let again = try TransactionalFile(path, options: options)
              if try TransactionalFileTests.bytes(again) != content || again.recovery.replayedCommits != 0 {
                complaint = "another state after the second open"
              }
            }
          }
        } catch { complaint = "cannot be opened: \(error)" }
        if let complaint {
          complaints.append("\(state.description): \(complaint)")
          if stopAtFirst { throw Enough() }
        }
      }
    } catch is Enough {}
    return count
  }

  static func shm() -> FilePath? { access("/dev/shm", W_OK) == 0 ? "/dev/shm" : nil }

  @Test(arguments: scenarios)
  func `after a power cut at any point the file is whole, and no acknowledged commit is missing`(_ scenario: Scenario)
    throws
  {
    var total = 0
    for seed in 1...(Self.isLong ? 6 : 1) as ClosedRange<UInt64> {
      let folder = try TemporaryDirectory(in: Self.shm())
      let recording = try Self.record(scenario, in: folder.path, seed: seed)
      var complaints: [String] = []
      total += try withWatchdog("crash states of \(scenario.name)", seconds: 600) {
        try Self.check(
          recording, isNew: scenario.isNew, random: Self.isLong ? 24 : 6, seed: seed, complaints: &complaints)
      }
      #expect(complaints.isEmpty, "\(complaints.count) of \(total) states, first: \(complaints.first ?? "")")
      if !complaints.isEmpty { break }
    }
    print("crash states of a TransactionalFile, \(scenario.name): \(total), all whole")
  }

  /// Bugs that are planted by answering calls, or by changing the order of what was recorded.
  enum Bug: String, CaseIterable, Sendable {
    case commitWithoutSync, checkpointWithoutSyncOfTheFile, epochWithoutSync, appliedBeforeTheSync
  }

  @Test(arguments: Bug.allCases)
  func `a planted bug is found by the enumeration`(_ bug: Bug) throws {
    var scenario = Scenario(name: bug.rawValue, commits: 8)
    if bug == .checkpointWithoutSyncOfTheFile || bug == .epochWithoutSync { scenario.journalLimit = 9_000 }
    var found = false
    for seed in 1...20 as ClosedRange<UInt64> where !found {
      let folder = try TemporaryDirectory(in: Self.shm())
      func name(_ descriptor: CInt) -> String {
        var buffer = [UInt8](repeating: 0, count: 4096)
        let count = buffer.withUnsafeMutableBytes {
          readlink("/proc/self/fd/\(descriptor)", $0.baseAddress!.assumingMemoryBound(to: CChar.self), 4096)
        }
        return String(decoding: buffer.prefix(max(0, count)), as: UTF8.self)
      }
      var afterFileSync = false
      let recording = try Self.record(scenario, in: folder.path, seed: seed) { call in
        guard call.kind == .syncData || call.kind == .syncFile else { return .perform }
        let isJournal = name(call.descriptor).hasSuffix("-journal")
        defer { afterFileSync = !isJournal }
        return switch bug {
        // A checkpoint syncs the file, then the journal; a commit the journal alone.
        case .commitWithoutSync: isJournal && !afterFileSync ? .pretend : .perform
        case .epochWithoutSync: isJournal && afterFileSync ? .pretend : .perform
        case .checkpointWithoutSyncOfTheFile: isJournal ? .perform : .pretend
        case .appliedBeforeTheSync: .perform
        }
      }
      if bug == .appliedBeforeTheSync {
        // Each sync of the journal moves behind the writes to the file that follow it.
        recording.log.rearrange { events in
          let file = recording.log.names["data"]!
          var at = events.count - 2
          while at >= 0 {
            if case .sync(let synced) = events[at], synced != file {
              var to = at
              scan: while to + 1 < events.count {
                switch events[to + 1] {
                case .write, .size: to += 1
                default: break scan
                }
              }
              let sync = events.remove(at: at)
              events.insert(sync, at: to)
            }
            at -= 1
          }
        }
      }
      var complaints: [String] = []
      _ = try Self.check(recording, isNew: false, random: 12, seed: seed, complaints: &complaints, stopAtFirst: true)
      found = !complaints.isEmpty
      if found { print("planted bug \(bug): \(complaints[0].prefix(300))") }
    }
    #expect(found)
  }
}

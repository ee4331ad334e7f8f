// SPDX-License-Identifier: Apache-2.0

@_spi(Testing) import MemoryMapping
import SystemPackage
import Testing
import _CTestSupport
import _StorageModel
import _TestSupport

#if canImport(Glibc)
  import Glibc
#elseif canImport(Darwin)
  import Darwin
#endif

/// What a power cut leaves of a GrowableMappedFile, by enumeration. Stores through the mapping are seen at each call and each append:
/// every sector that changed is a write of its own.
///
/// The promise: the next open finds a whole number of records, at least those that were flushed before the cut.
@Suite(.serialized) struct GrowableCrashTests {
  static let isLong = getenv("PAGEWISE_LONG") != nil

  /// Marks: number of the record * 2 when it is appended, * 2 + 1 when it is flushed.
  static func record(
    in folder: FilePath, records: Int, flushEvery: Int, seed: UInt64, isNew: Bool = false,
    reopensAt: Set<Int> = [],
    answering answer: @escaping (CallWatch.Call) -> CallWatch.Answer = { _ in .perform }
  ) throws -> CrashLog {
    let path = folder.appending("log")
    var options = GrowableMappedFile.Options()
    options.chunk = 2000...8000
    options.maximumSize = 1 << 20
    if !isNew {
      var file = try GrowableMappedFile(path, options: options)
      for number in 1...3 as ClosedRange<UInt64> { try file.append(StorageModel.Records.record(number).span.bytes) }
      try file.close()
    }
    let log = try CrashLog(folder.string)
    // Declared first, as the log looks at its memory until the end of the recording.
    try log.record(answering: answer) {
      var file = try GrowableMappedFile(path, options: options)
      var base = file.wholeFile.baseAddress!
      let look = {
        let size = (try? GrowableMappedFileTests.size(path)) ?? 0
        return [(name: "log", bytes: UnsafeRawBufferPointer(start: base, count: size))]
      }
      log.mapped = look
      let first = isNew ? 0 : 3
      log.mark(first * 2 + 1)
      for number in UInt64(first + 1)...UInt64(first + records) {
        if reopensAt.contains(Int(number)) {
          // Ends without a close; the next one may find more than is on disk.
          log.mapped = nil
          _ = consume file
          file = try GrowableMappedFile(path, options: options)
          base = file.wholeFile.baseAddress!
          log.mapped = look
        }
        try file.append(StorageModel.Records.record(number).span.bytes)
        log.mark(Int(number) * 2)
        if Int(number) % flushEvery == 0 {
          try file.flush(.data)
          log.mark(Int(number) * 2 + 1)
        }
      }
      // Ends without a close: what is left is what a writer leaves that is gone with the power.
      log.mark(0)
      log.mapped = nil
      // Not gone before: the log has looked at its memory.
      #expect(file.isPoisoned == false)
    }
    return log
  }

  static func check(
    _ log: CrashLog, in folder: FilePath, random: Int, seed: UInt64, complaints: inout [String],
    stopAtFirst: Bool = false
  ) throws -> Int {
    struct Enough: Error {}
    let path = folder.appending("log")
    var options = GrowableMappedFile.Options()
    options.maximumSize = 1 << 20
    var count = 0
    do {
      try log.forEachCrashState(random: random, seed: seed) { state in
        count += 1
        try state.materialize(in: folder.string)
        let flushed = (state.marks.filter { $0 % 2 == 1 }.max() ?? 0) / 2
        // A name that was not durable yet; then the file was not even open.
        if state.files["log"] == nil {
          if !state.marks.isEmpty { complaints.append("\(state.description): the file is gone") }
          return
        }
        var complaint: String?
        do {
          let reader = try GrowableMappedReader(path, maximumSize: 1 << 20)
          let seen = try GrowableMappedFileTests.bytes(reader)
          let file = try GrowableMappedFile(path, options: options)
          let content = try GrowableMappedFileTests.bytes(file)
          if seen != content { complaint = "a reader sees \(seen.count) bytes, the writer \(content.count)" }
          if let found = StorageModel.Records.count(content) {
            if found < UInt64(flushed) { complaint = "\(flushed) records were flushed, \(found) are there" }
          } else {
            complaint = "a torn record"
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

  @Test(arguments: [1, 3, 100])
  func `after a power cut at any point every flushed record is there, and none is torn`(flushEvery: Int) throws {
    var total = 0
    for seed in 1...(Self.isLong ? 14 : 1) as ClosedRange<UInt64> {
      let folder = try TemporaryDirectory(in: TransactionalCrashTests.shm())
      let log = try Self.record(in: folder.path, records: 10 + Int(seed), flushEvery: flushEvery, seed: seed)
      var complaints: [String] = []
      total += try Self.check(log, in: folder.path, random: Self.isLong ? 24 : 6, seed: seed, complaints: &complaints)
      #expect(complaints.isEmpty, "\(complaints.count) of \(total) states, first: \(complaints.first ?? "")")
      if !complaints.isEmpty { break }
    }
    print("crash states of a GrowableMappedFile, a flush every \(flushEvery): \(total), all whole")
  }

  @Test func `a writer that is killed, even in a flush, leaves the next one nothing that a power cut could take back`()
    throws
  {
    var total = 0
    for seed in 1...(Self.isLong ? 8 : 2) as ClosedRange<UInt64> {
      let folder = try TemporaryDirectory(in: TransactionalCrashTests.shm())
      // The third flush never reaches the disk: its writer is gone before the sync.
      var syncs = 0
      let log = try Self.record(
        in: folder.path, records: 9, flushEvery: 3, seed: seed, reopensAt: [7, 10]
      ) { call in
        guard call.kind == .syncData else { return .perform }
        syncs += 1
        return .perform
      }
      // Marks of flushes whose sync is taken away go, too: as if the kill had come between the slot and the sync.
      var taken = 0
      log.rearrange { events in
        var index = 0
        while index < events.count {
          if case .mark(let number) = events[index], number % 2 == 1, number / 2 == 6 {
            // The last sync before this mark.
            var at = index
            while at > 0 {
              at -= 1
              if case .sync = events[at] { break }
            }
            events.remove(at: index)
            events.remove(at: at)
            taken += 1
            index -= 1
          }
          index += 1
        }
      }
      #expect(taken == 1 && syncs > 2)
      var complaints: [String] = []
      total += try Self.check(log, in: folder.path, random: Self.isLong ? 24 : 8, seed: seed, complaints: &complaints)
      #expect(complaints.isEmpty, "\(complaints.count) of \(total) states, first: \(complaints.first ?? "")")
    }
    print("crash states of a GrowableMappedFile, killed and opened again: \(total), all whole")
  }

  @Test func `a file that is being made is there whole, or not at all`() throws {
    let folder = try TemporaryDirectory(in: TransactionalCrashTests.shm())
    let log = try Self.record(in: folder.path, records: 4, flushEvery: 2, seed: 1, isNew: true)
    var complaints: [String] = []
    let total = try Self.check(log, in: folder.path, random: 12, seed: 1, complaints: &complaints)
    #expect(complaints.isEmpty, "\(complaints.count) of \(total) states, first: \(complaints.first ?? "")")
    print("crash states of a GrowableMappedFile, a new file: \(total), all whole")
  }

  @Test func `a flush that syncs nothing is found by the enumeration`() throws {
    var found = false
    for seed in 1...10 as ClosedRange<UInt64> where !found {
      let folder = try TemporaryDirectory(in: TransactionalCrashTests.shm())
      let log = try Self.record(in: folder.path, records: 10, flushEvery: 3, seed: seed) {
        $0.kind == .syncData ? .pretend : .perform
      }
      var complaints: [String] = []
      _ = try Self.check(log, in: folder.path, random: 12, seed: seed, complaints: &complaints, stopAtFirst: true)
      found = !complaints.isEmpty
      if found { print("planted bug, no sync: \(complaints[0].prefix(200))") }
    }
    #expect(found)
  }
}

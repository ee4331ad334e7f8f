// SPDX-License-Identifier: Apache-2.0

import MemoryMapping
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

/// What a writer leaves that is killed at any instruction: SIGKILL at a random time, then the next writer, on the same file.
@Suite(.serialized) struct KilledWriterTests {
  static let isLong = getenv("PAGEWISE_LONG") != nil
  /// In all, over the ways of writing.
  static let kills = isLong ? 10_000 : 1_000

  /// The program that writes stands beside the tests.
  static let writer: String = {
    var path = [UInt8](repeating: 0, count: 4096)
    let count = path.withUnsafeMutableBytes {
      readlink("/proc/self/exe", $0.baseAddress!.assumingMemoryBound(to: CChar.self), 4096)
    }
    let own = FilePath(String(decoding: path.prefix(max(0, count)), as: UTF8.self))
    return own.removingLastComponent().appending("_StorageWriter").string
  }()

  /// The last number that was acknowledged, by what the writer has printed.
  static func acknowledged(_ output: String) throws -> UInt64 {
    // The last line may be cut.
    let lines = output.split(separator: "\n", omittingEmptySubsequences: false).dropLast()
    if let failure = lines.first(where: { UInt64($0) == nil }) { throw WriterFailure(text: String(failure)) }
    return lines.last.flatMap { UInt64($0) } ?? 0
  }

  struct WriterFailure: Error { let text: String }

  enum Way: String, CaseIterable, Sendable {
    case transactions, grouped, appends
    case flushedAppends = "flushed-appends"
  }

  @Test(arguments: Way.allCases)
  func `after a kill every acknowledged commit and append is there, whole`(_ way: Way) throws {
    let folder = try TemporaryDirectory()
    let path = folder.appending("data")
    var random = Random(seed: 3)
    var model = StorageModel.Scattered()
    var verified = (bytes: 0, records: UInt64(0))
    var last: UInt64 = 0
    var replays = 0
    let rounds = Self.kills / Way.allCases.count
    for round in 1...rounds {
      var child = try RunningChild([Self.writer, way.rawValue, path.string])
      pgt_sleep_us(UInt32(3_000 + random.below(20_000)))
      child.kill()
      let acknowledged = max(last, try Self.acknowledged(child.output))
      switch way {
      case .transactions, .grouped:
        guard access(path.string, F_OK) == 0 else { continue }
        let file = try TransactionalFile(path, creating: .ifMissing(size: Int64(StorageModel.Scattered.firstSize)))
        if file.recovery.replayedCommits > 0 { replays += 1 }
        let content = try TransactionalFileTests.bytes(file)
        last = StorageModel.Scattered.number(of: content)
        while model.number < last, model.number < acknowledged + 100_000 { model.advance() }
        try #require(content == model.content, "round \(round): state \(last) is not whole")
        try file.close()
      case .appends, .flushedAppends:
        guard access(path.string, F_OK) == 0 else { continue }
        let reader = try GrowableMappedReader(path)
        let content = try reader.withBytes(verified.bytes..<reader.count) { $0.withUnsafeBytes { Array($0) } }
        let more = StorageModel.Records.count(content, from: verified.records + 1)
        try #require(more != nil, "round \(round): a torn record behind record \(verified.records)")
        verified = (verified.bytes + content.count, verified.records + more!)
        last = verified.records
      }
      try #require(last >= acknowledged, "round \(round): \(acknowledged) was acknowledged, \(last) is there")
    }
    print("killed writers, \(way.rawValue): \(rounds) kills, \(last) states, \(replays) replays, 0 lost, 0 torn")
    #expect(last > 0)
  }
}

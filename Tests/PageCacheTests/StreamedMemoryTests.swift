// SPDX-License-Identifier: Apache-2.0

import MemoryMapping
import PageCache
import SystemPackage
import Testing
import _CTestSupport
import _TestSupport

#if canImport(Darwin)
  import Darwin
#elseif canImport(Musl)
  import Musl
#else
  import Glibc
#endif

/// A file of eight times the memory limit, in constant memory, beside a file that must stay in memory. Root only.
/// `PAGEWISE_LONG=1` takes a larger limit and file.
@Suite(.serialized) struct StreamedMemoryTests {
  static let isLong = getenv("PAGEWISE_LONG") != nil
  static let limit = isLong ? 128 << 20 : 32 << 20
  static let hotSize = isLong ? 32 << 20 : 8 << 20

  /// A memory control group of a test, removed at the end of the scope.
  struct Group: ~Copyable {
    let path: FilePath

    /// Nil, after a loud skip, where none can be made.
    static func make(limit: Int) throws -> Group? {
      let version1 = FilePath("/sys/fs/cgroup/memory")
      let isVersion1 = access(version1.appending("memory.limit_in_bytes").string, F_OK) == 0
      let root = isVersion1 ? version1 : FilePath("/sys/fs/cgroup")
      let hasController =
        isVersion1
        || ProcessView.text("/sys/fs/cgroup/cgroup.subtree_control").split(whereSeparator: \.isWhitespace).contains(
          "memory")
      let path = root.appending("pagewise-test-\(getpid())")
      guard
        Skips.require(
          hasController && mkdir(path.string, 0o755) == 0, "a memory control group",
          install: "a kernel and a container with the memory controller")
      else { return nil }
      let group = Group(path: path)
      let file = try FileDescriptor.open(
        path.appending(isVersion1 ? "memory.limit_in_bytes" : "memory.max"), .writeOnly)
      try file.closeAfter { _ = try file.writeAll("\(limit)".utf8) }
      return group
    }

    deinit { rmdir(path.string) }
  }

  struct Outcome {
    /// VmHWM, KiB.
    var peak = 0
    var hotResident = 0.0
    var bytes = 0
    var isScarce = false
    var left = 0
  }

  @Test(.rootOnly("a memory limit"), arguments: StreamSupport.methods)
  func `a file eight times the limit passes in constant memory, and a hot file stays`(_ method: StreamedFile.Method)
    async throws
  {
    guard let base = try StreamSupport.deviceFolder("a memory limit"),
      let group = try Group.make(limit: Self.limit)
    else { return }
    let folder = try TemporaryDirectory(in: base)
    let (large, hot, result) = (folder.appending("large"), folder.appending("hot"), folder.appending("result"))
    _ = try PatternFile(large, size: 8 * Int64(Self.limit))
    _ = try PatternFile(hot, size: Int64(Self.hotSize))
    let lengths = [4 * Self.limit, 8 * Self.limit]
    var outcomes: [Outcome] = []
    // The least peak of up to three passes each: what the runtime keeps for its threads is a matter of time, and what grows with the
    // file grows each time.
    func peakGrowth() -> Int {
      let peaks = lengths.map { length in outcomes.filter { $0.bytes == length }.map(\.peak).min() ?? .max / 2 }
      return abs(peaks[1] - peaks[0])
    }
    repeat {
      for length in lengths {
        try StreamSupport.evict(large)
        try StreamSupport.evict(hot)
        let arguments = [
          group.path.string, large.string, hot.string, result.string, "\(length)", method.rawValue, "\(Self.hotSize)",
        ]
        await #expect(processExitsWith: .success) { [arguments = arguments as [String]] in try Self.child(arguments) }
        let words = ProcessView.text(result).split(separator: " ")
        try #require(words.count == 5)
        outcomes.append(
          Outcome(
            peak: Int(words[0]) ?? 0, hotResident: Double(words[1]) ?? 0, bytes: Int(words[2]) ?? 0,
            isScarce: words[3] == "true", left: Int(words[4]) ?? -1))
      }
    } while outcomes.count < 6 && peakGrowth() > 2048
    #expect(outcomes.count >= 2 && outcomes.enumerated().allSatisfy { $1.bytes == lengths[$0 % 2] }, "\(outcomes)")
    #expect(outcomes.allSatisfy { $0.hotResident >= 0.95 && $0.peak > 0 }, "\(outcomes)")
    #expect(outcomes.allSatisfy { $0.bytes == lengths[0] || $0.left == 0 }, "\(outcomes)")
    // Twice the file, the same peak: to two MiB, which is a sixty-fourth of the second half.
    #expect(peakGrowth() <= 2048, "\(outcomes)")
  }

  /// In a process of its own: goes into the group, makes the hot file hot, streams, and writes down what came of it.
  static func child(_ arguments: [String]) throws {
    let (group, large, hot, result) = (
      FilePath(arguments[0]), FilePath(arguments[1]), FilePath(arguments[2]), FilePath(arguments[3])
    )
    let processes = try FileDescriptor.open(group.appending("cgroup.procs"), .writeOnly)
    try processes.closeAfter { _ = try processes.writeAll("\(getpid())".utf8) }
    // Twice: once read, a page is the first to go.
    let hotSize = Int64(arguments[6])!
    for _ in 0..<2 { _ = try StreamedMemoryTests.readAll(hot, hotSize) }
    var seen = StreamSupport.Seen()
    let report = try StreamedFile(large, method: .init(rawValue: arguments[5])!, length: Int64(arguments[4])!)
      .forEachChunk {
        seen.add($0, $1)
        return .continue
      }
    precondition(seen.firstWrong == nil && seen.bytes == report.bytes)
    let fraction = try MappedFile(hot).residency().fraction ?? 0
    let status = ProcessView.text("/proc/self/status")
    let peak = status.split(separator: "\n").first { $0.hasPrefix("VmHWM:") }?.split(separator: " ").dropFirst().first
    let text = "\(peak ?? "0") \(fraction) \(report.bytes) \(report.isMemoryScarce) \(report.pagesLeft)"
    let file = try FileDescriptor.open(result, .writeOnly, options: [.create, .truncate], permissions: .ownerReadWrite)
    try file.closeAfter { _ = try file.writeAll(text.utf8) }
  }

  private static func readAll(_ path: FilePath, _ size: Int64) throws -> Int {
    let file = try FileDescriptor.open(path, .readOnly)
    defer { try? file.close() }
    var buffer = [UInt8](repeating: 0, count: 1 << 16)
    var total = 0
    while case let got = try buffer.withUnsafeMutableBytes({ try file.read(into: $0) }), got > 0 { total += got }
    precondition(total == size)
    return total
  }
}

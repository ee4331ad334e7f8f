// SPDX-License-Identifier: Apache-2.0

import MemoryMapping
import SystemPackage
import Testing
import _CTestSupport
import _TestSupport

@testable import PageCache

#if canImport(Darwin)
  import Darwin
#elseif canImport(Musl)
  import Musl
#else
  import Glibc
#endif

/// What was asked for is warm afterwards, and the report is true.
@Suite(.serialized, .undisturbed) struct WarmTests {
  static let page = CacheScene.page

  static func options(_ method: CacheWarmer.Method = .populate, window: Int? = 64 << 10) -> CacheWarmer.Options {
    var options = CacheWarmer.Options()
    options.method = method
    options.window = window
    return options
  }

  @Test(arguments: CacheWarmer.Method.allCases)
  func `a cold file becomes warm, with its bytes counted; again, nothing is brought`(_ method: CacheWarmer.Method)
    throws
  {
    let folder = try TemporaryDirectory()
    guard try CacheScene.isPossible(in: folder) else { return }
    for size in [1, 4096, 65_536, 1_000_001, 3 << 20] {
      let path = try CacheScene.coldFile(folder, "f\(size)", size: size)
      let warmer = CacheWarmer(options: Self.options(method))
      let report = try warmer.warm(path)
      #expect(report.brought == Int64(size) && report.skipped == 0 && report.failed == 0 && report.refused == 0)
      #expect(report.wanted == Int64(size) && report.before.resident == 0 && report.after.share == 1)
      #expect(!report.isInterrupted && !report.isOverBudget && report.walk == nil && report.list == nil)
      #expect(report.pagesPerFault.map { $0 >= 1 } == true)
      let again = try warmer.warm(path)
      #expect(again.brought == 0 && again.skipped == Int64(size) && again.wanted == Int64(size))
    }
    #expect(try CacheWarmer().warm(try folder.file("empty")).wanted == 0)
  }

  @Test func `what was in memory is not brought again, by windows`() throws {
    let folder = try TemporaryDirectory()
    guard try CacheScene.isPossible(in: folder) else { return }
    let path = try CacheScene.coldFile(folder, "f", size: 64 * Int(Self.page))
    // Windows of 16 pages: the first whole, one page of the second.
    try CacheScene.touch(path, pages: Array(0..<16) + [20])
    let report = try CacheWarmer(options: Self.options()).warm(path)
    #expect(report.skipped == 17 * Self.page && report.brought == 47 * Self.page)
    #expect(report.before.resident == 17 && report.after.resident == 64)
  }

  @Test func `a range is warmed and no byte more is asked for; behind the end is nothing`() throws {
    let folder = try TemporaryDirectory()
    guard try CacheScene.isPossible(in: folder) else { return }
    let path = try CacheScene.coldFile(folder, "f", size: 1 << 20)
    let warmer = CacheWarmer(options: Self.options())
    let report = try warmer.warm(path, range: 100_000..<200_000)
    #expect(report.wanted == 100_000 && report.brought == 100_000 && report.after.share == 1)
    #expect(report.before.pages == report.after.pages && report.after.pages == 25)
    #expect(try warmer.warm(path, range: 2 << 20..<3 << 20).wanted == 0)
    #expect(try warmer.warm(path, range: 900_000..<Int64.max).wanted == (1 << 20) - 900_000)
  }

  @Test func `holes are left out, or loaded by request`() throws {
    let folder = try TemporaryDirectory()
    guard try CacheScene.isPossible(in: folder) else { return }
    let path = try folder.file("sparse", [])
    let file = try FileDescriptor.open(path, .readWrite)
    #expect(ftruncate(file.rawValue, 64 << 20) == 0)
    for offset in [1 << 20, 40 << 20] {
      _ = try file.writeAll(toAbsoluteOffset: Int64(offset), PatternFile.bytes(0..<65_536))
    }
    try file.close()
    try CacheScene.evict(path)
    let holes = try ResidencyScanner().scan(path).files.first.map { $0.allocated < 1 << 20 } ?? false
    guard Skips.require(holes, "holes", install: "a file system with sparse files") else { return }
    let report = try CacheWarmer(options: Self.options()).warm(path)
    #expect(report.wanted == 2 * 65_536 && report.brought == 2 * 65_536)
    var options = Self.options()
    options.loadsHoles = true
    let all = try CacheWarmer(options: options).warm(path)
    #expect(all.wanted == 64 << 20 && all.after.share == 1)
  }

  @Test func `a folder is warmed by name, links once`() throws {
    let folder = try TemporaryDirectory()
    guard try CacheScene.isPossible(in: folder) else { return }
    for number in 0..<30 { try folder.file("f\(number).idx", PatternFile.bytes(0..<10_000)) }
    try CacheScene.evict(folder.path)
    let other = try CacheScene.coldFile(folder, "other", size: 10_000)
    #expect(link(folder.appending("f1.idx").string, folder.appending("again.idx").string) == 0)
    var options = Self.options()
    options.patterns = FilePatterns(["*.idx"])
    let report = try CacheWarmer(options: options).warm(folder.path)
    #expect(report.walk?.files == 30 && report.walk?.hardLinks == 1 && report.brought == 300_000)
    #expect(report.after.resident == 90 && report.after.knownFiles == 30)
    #expect(try ResidencyScanner().scan(other).pages.resident == 0)
  }

  @Test func `the budget ends it, and what is warm until then is told`() throws {
    let folder = try TemporaryDirectory()
    guard try CacheScene.isPossible(in: folder) else { return }
    let path = try CacheScene.coldFile(folder, "f", size: 4 << 20)
    var options = Self.options()
    options.budget = 1 << 20
    let report = try CacheWarmer(options: options).warm(path)
    #expect(report.isOverBudget && report.brought == 1 << 20 && report.budget == 1 << 20 && !report.isInterrupted)
    // The kernel reads ahead of what is asked for.
    #expect(report.after.resident >= 256)
    options.budget = 0
    #expect(try CacheWarmer(options: options).warm(folder.path).brought == 0)
  }

  @Test func `a cancelled run ends after its window, and tells what is warm`() throws {
    let folder = try TemporaryDirectory()
    guard try CacheScene.isPossible(in: folder) else { return }
    for number in 0..<3 { _ = try CacheScene.coldFile(folder, "f\(number)", size: 1 << 20) }
    let report = try CacheWarmer(options: Self.options()).warm(folder.path, isCancelled: { true })
    #expect(report.isInterrupted)
    #expect(report.brought == 0 && report.skipped == 0)
    var state: [(Double, String)] = []
    let path = try CacheScene.coldFile(folder, "g", size: 1 << 20)
    _ = try CacheWarmer(options: Self.options()).warm(path, progress: { state.append(($0, $1)) })
    #expect(state.last?.0 == 1 && state.last?.1 == "1 MiB warm")
  }

  @Test func `errors of the path itself are thrown`() throws {
    let folder = try TemporaryDirectory()
    let fifo = folder.appending("fifo")
    #expect(fifo.withPlatformString { pgt_make_fifo($0) } == 0)
    #expect { try CacheWarmer().warm(fifo) } throws: { ($0 as? MappingError)?.code == .unsupportedFileType }
    #expect { try CacheWarmer().warm(folder.appending("none")) } throws: { ($0 as? MappingError)?.code == .notFound }
  }

  @Test func `a list brings back exactly what was hot`() throws {
    let folder = try TemporaryDirectory()
    guard try CacheScene.isPossible(in: folder) else { return }
    var random = Random(seed: 7)
    #expect(mkdir(folder.appending("data").string, 0o700) == 0)
    var wanted: [FilePath: [Bool]] = [:]
    for number in 0..<5 {
      let path = try CacheScene.coldFile(folder, "data/f \(number) %\n\u{e9}", size: 400_000)
      let pages = (0..<98).map { _ in random.below(3) == 0 }
      try CacheScene.touch(path, pages: pages.indices.filter { pages[$0] })
      wanted[path] = pages
    }
    let list = folder.appending("hot.list")
    var hot = HotRanges()
    #expect(try hot.add(folder.appending("data"))?.files == 5)
    try hot.save(to: list)
    let total = wanted.values.reduce(0) { $0 + $1.count { $0 } }
    for path in wanted.keys { try CacheScene.evict(path) }
    let read = try HotRanges(contentsOf: list)
    #expect(read.files == hot.files && read.bytes == hot.bytes && read.path == list)
    for file in read.files {
      #expect(file.ranges == CacheScene.ranges(try #require(wanted[file.path]), size: file.size))
    }
    let report = CacheWarmer(options: Self.options()).warm(read)
    #expect(report.list == WarmReport.ListCounts(files: 5, missing: 0, changed: 0))
    #expect(report.brought == hot.bytes && report.after.resident == Int64(total) && report.after.share == 1)
    // Gone, shortened, changed.
    let paths = hot.files.map(\.path)
    #expect(unlink(paths[0].string) == 0 && truncate(paths[1].string, 10) == 0)
    let second = CacheWarmer().warm(read)
    #expect(second.list == WarmReport.ListCounts(files: 5, missing: 1, changed: 1))
    #expect(second.walk?.failures == 1 && second.walk?.firstFailures.first?.code == .notFound)
  }

  @Test func `a list that was cut or changed anywhere is refused with its line, and never traps`() throws {
    var hot = HotRanges()
    let folder = try TemporaryDirectory()
    let path = try folder.file("a b", PatternFile.bytes(0..<20_000))
    try hot.add(path)
    let list = folder.appending("l")
    try hot.save(to: list)
    let size = try #require(try? FileDescriptor.open(list, .readOnly).seek(offset: 0, from: .end))
    let bytes = try PatternFile.read(list, 0..<size)
    #expect(try HotRanges(bytes: bytes, path: list).files.count == 1)
    for length in 0..<bytes.count {
      #expect(throws: MappingError.self) { try HotRanges(bytes: Array(bytes[..<length]), path: list) }
    }
    for index in bytes.indices {
      for flip in [1, 0x80, 0x20] as [UInt8] {
        var changed = bytes
        changed[index] ^= flip
        // Only the case of the checksum's digits can be another and mean the same; it is refused as well.
        #expect(throws: MappingError.self, "byte \(index)") { try HotRanges(bytes: changed, path: list) }
      }
    }
    for (text, word) in [
      ("pagewise hot ranges 2\n", "later version"), ("ELF", "not a list"),
      ("pagewise hot ranges 1\nrange 1 2\n", "line 2"),
      ("pagewise hot ranges 1\nfile 99999999999999999999 1 x\n", "number"),
      ("pagewise hot ranges 1\nfile 1 1 %00\n", "NUL"),
      ("pagewise hot ranges 1\nfile 1 1 %G0\n", "'%'"), ("pagewise hot ranges 1\nfile 1 1 x\nrange 5 5\n", "empty"),
      ("pagewise hot ranges 1\nfile 1 1 x\nrange 1 5\nrange 4 6\n", "out of order"),
      ("pagewise hot ranges 1\n\n", "line 2"),
      ("pagewise hot ranges 1\nfile 1 -9223372036854775808 x\n", "cut"),
    ] {
      #expect { try HotRanges(bytes: Array(text.utf8), path: list) } throws: { "\($0)".contains(word) }
    }
    #expect { try HotRanges(contentsOf: folder.path) } throws: { ($0 as? MappingError)?.code == .unsupportedFileType }
  }

  @Test func `a list with a larger size than the file has is warmed as far as it reaches`() throws {
    let folder = try TemporaryDirectory()
    guard try CacheScene.isPossible(in: folder) else { return }
    let path = try CacheScene.coldFile(folder, "f", size: 1 << 20)
    // The list remembers a size that the file does not have any more.
    let list = HotRanges(files: [.init(path: path, size: 1 << 30, modified: 0, ranges: [0..<1 << 30])])
    let report = CacheWarmer(options: Self.options()).warm(list)
    #expect(report.list?.changed == 1 && report.brought == 1 << 20 && report.failed == 0)
  }

  @Test func `files that are cut and extended while they are warmed end no process`() throws {
    let folder = try TemporaryDirectory()
    let path = try folder.file("f", PatternFile.bytes(0..<1 << 20))
    withWatchdog("cut while warmed", seconds: 60) {
      let target = path.string
      let thread = Thread { _ = (truncate(target, 5000), truncate(target, 1 << 20)) }
      for _ in 0..<40 {
        let report = try? CacheWarmer(options: Self.options()).warm(path)
        if let report { #expect(report.brought + report.skipped + report.failed <= report.wanted) }
        _ = try? CacheEvictor(options: .init()).evict(path)
      }
      thread.stop()
    }
  }

  @Test(.rootOnly("a failing device"), arguments: CacheWarmer.Method.allCases)
  func `what a failing device does not give is an error with its place, and counted`(_ method: CacheWarmer.Method)
    throws
  {
    guard Skips.require(Skips.hasProgram("mkfs.ext4"), "EIO", install: MountedImage.FileSystem.ext4.package) else {
      return
    }
    let outer = try MountedImage(.ext4, size: 64 << 20)
    let mount = try MountedImage(.ext4, in: outer.path)
    for name in ["f", "g"] {
      let file = try FileDescriptor.open(
        mount.appending(name), .readWrite, options: [.create], permissions: .ownerReadWrite)
      try file.closeAfter { _ = try file.writeAll(PatternFile.bytes(0..<300_000)) }
      try CacheScene.evict(mount.appending(name))
    }
    try CacheScene.touch(mount.appending("g"), pages: 0..<10)
    try mount.forgetImage()
    try outer.shutDown()
    #expect { try CacheWarmer(options: Self.options(method)).warm(mount.appending("f")) } throws: {
      let error = $0 as? MappingError
      return error?.code == .inputOutput && error?.offset == 0 && error?.path == mount.appending("f")
    }
    let part = try CacheWarmer(options: Self.options(method)).warm(mount.appending("g"))
    #expect(part.failure?.code == .inputOutput && part.failure?.offset == 10 * Self.page)
    #expect(part.failed == 300_000 - 10 * Self.page && part.skipped == 10 * Self.page && part.brought == 0)
    let report = try CacheWarmer(options: Self.options(method)).warm(mount.path)
    #expect(
      report.walk?.failures == 3 && report.failed == 600_000 - 10 * Self.page && report.skipped == 10 * Self.page,
      "\(report)")
  }
}

/// Does something again and again until it is stopped.
private final class Thread: @unchecked Sendable {
  private let isEnded = Locked(false)
  private let done = Locked(false)

  init(_ body: @escaping @Sendable () -> Void) {
    let (isEnded, done) = (isEnded, done)
    Task.detached {
      while !isEnded.withLock({ $0 }) { body() }
      done.withLock { $0 = true }
    }
  }

  func stop() {
    isEnded.withLock { $0 = true }
    while !done.withLock({ $0 }) { pgt_sleep_us(1000) }
  }
}

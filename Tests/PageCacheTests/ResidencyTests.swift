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

/// What is in memory is told page for page.
@Suite(.serialized, .undisturbed) struct ResidencyTests {
  @Test func `random patterns are told page for page, as the test made them and as mincore has them`() throws {
    let folder = try TemporaryDirectory()
    guard try CacheScene.isPossible(in: folder) else { return }
    var random = Random(seed: 4)
    for round in 0..<12 {
      let size = random.below(6 << 20) + 1
      let path = try CacheScene.coldFile(folder, "f\(round)", size: size)
      let count = (size + Int(CacheScene.page) - 1) / Int(CacheScene.page)
      // From nothing over scattered pages to nearly all.
      let odds = [0, 1, 2, 8, 50, 200][round % 6]
      var wanted = (0..<count).map { _ in odds > 0 && random.below(200) < odds }
      if round > 6 { wanted[count - 1] = true }
      try CacheScene.touch(path, pages: wanted.indices.filter { wanted[$0] })
      let report = try ResidencyScanner().scan(path)
      let told = try CacheScene.mincore(path)
      #expect(told == wanted, "round \(round)")
      #expect(report.pages.resident == Int64(wanted.count { $0 }) && report.pages.pages == Int64(count))
      #expect(report.pages.dirty == 0 && report.pages.knownFiles == 1 && report.size == Int64(size))
      let found = try ResidentRanges(of: path)
      #expect(found.ranges == CacheScene.ranges(wanted, size: Int64(size)) && !found.isTruncated)
      // Any range of it is told as cut out of the whole.
      let lower = Int64(random.below(size))
      let upper = lower + Int64(random.below(size - Int(lower) + 1))
      let file = try FileDescriptor.open(path, .readOnly)
      defer { try? file.close() }
      let part = try CachedPages(of: file, range: lower..<upper)
      let pages =
        lower == upper ? 0..<0 : Int(lower / CacheScene.page)..<Int((upper - 1) / CacheScene.page) + 1
      #expect(part.resident == Int64(wanted[pages].count { $0 }) && part.pages == Int64(pages.count))
    }
  }

  @Test func `a limit of ranges is kept, and said`() throws {
    let folder = try TemporaryDirectory()
    guard try CacheScene.isPossible(in: folder) else { return }
    let path = try CacheScene.coldFile(folder, "f", size: 100 * Int(CacheScene.page))
    try CacheScene.touch(path, pages: stride(from: 0, to: 100, by: 2))
    let all = try ResidentRanges(of: path)
    #expect(all.ranges.count == 50 && !all.isTruncated)
    let some = try ResidentRanges(of: path, limit: 7)
    #expect(some.ranges == Array(all.ranges.prefix(7)) && some.isTruncated)
    #expect(try ResidentRanges(of: path, limit: 0).isTruncated)
    let part = try ResidentRanges(of: path, range: CacheScene.page * 3..<CacheScene.page * 5)
    #expect(part.ranges == [CacheScene.page * 4..<CacheScene.page * 5])
  }

  @Test func `dirty pages are told, and evicted ones`() throws {
    let folder = try TemporaryDirectory()
    guard try CacheScene.isPossible(in: folder) else { return }
    let path = try folder.file("f", PatternFile.bytes(0..<64 * CacheScene.page))
    let dirty = try ResidencyScanner().scan(path).pages
    #expect(dirty.resident == 64 && dirty.dirty + dirty.inWriteBack == 64 && dirty.share == 1)
    try CacheScene.evict(path)
    let after = try ResidencyScanner().scan(path).pages
    #expect(after.resident == 0 && after.dirty == 0 && after.share == 0)
    // An eviction by request leaves no trace in the kernel; what it takes for want of memory does. See the cgroup tests.
    #expect(after.evicted >= 0 && after.recentlyEvicted <= after.evicted)
  }

  @Test func `a bar of equal parts says which are resident`() throws {
    let folder = try TemporaryDirectory()
    guard try CacheScene.isPossible(in: folder) else { return }
    let path = try CacheScene.coldFile(folder, "f", size: 100 * Int(CacheScene.page))
    try CacheScene.touch(path, pages: Array(0..<10) + [55])
    var options = ResidencyScanner.Options()
    options.parts = 10
    options.samplesFaults = true
    let file = try #require(try ResidencyScanner(options: options).scan(path).files.first)
    #expect(file.shares == [1, 0, 0, 0, 0, 0.1, 0, 0, 0, 0])
    #expect(file.pagesPerFault.map { 1...512 ~= $0 } == true)
    options.parts = 4096
    #expect(try ResidencyScanner(options: options).scan(path).files.first?.shares.count == 100)
  }

  @Test func `files are counted once: hard links, loops, paths that overlap`() throws {
    let folder = try TemporaryDirectory()
    #expect(mkdir(folder.appending("a").string, 0o700) == 0 && mkdir(folder.appending("a/b").string, 0o700) == 0)
    let page = Int(CacheScene.page)
    try folder.file("a/one", PatternFile.bytes(0..<Int64(page)))
    try folder.file("a/b/two", PatternFile.bytes(0..<2 * Int64(page)))
    #expect(link(folder.appending("a/one").string, folder.appending("a/b/one again").string) == 0)
    #expect(symlink("../..", folder.appending("a/b/loop").string) == 0)
    #expect(symlink("two", folder.appending("a/b/link").string) == 0)
    let plain = try ResidencyScanner().scan(folder.path)
    #expect(plain.walk?.files == 2 && plain.walk?.hardLinks == 1 && plain.walk?.links == 2)
    #expect(plain.pages.pages == 3 && plain.size == Int64(3 * page))
    var options = ResidencyScanner.Options()
    options.followsLinks = true
    let following = try ResidencyScanner(options: options).scan(folder.path)
    #expect(following.walk?.files == 2 && following.walk?.loops == 1 && following.walk?.hardLinks == 2)
    #expect(following.pages == plain.pages)
    var counted = ResidencyScanner.CountedFiles()
    let first = try ResidencyScanner().scan(folder.appending("a/b"), notIn: &counted)
    let second = try ResidencyScanner().scan(folder.path, notIn: &counted)
    let third = try ResidencyScanner().scan(folder.appending("a/one"), notIn: &counted)
    #expect(first.walk?.files == 2 && second.walk?.files == 0 && second.walk?.countedBefore == 2)
    #expect(second.pages == CachedPages() && third.pages == CachedPages() && third.files.count == 1)
  }

  @Test func `the first in an order are named, and patterns choose by name and path`() throws {
    let folder = try TemporaryDirectory()
    guard try CacheScene.isPossible(in: folder) else { return }
    let page = Int(CacheScene.page)
    #expect(mkdir(folder.appending("sub").string, 0o700) == 0 && mkdir(folder.appending("tmp").string, 0o700) == 0)
    for number in 1...40 {
      try folder.file("sub/f\(number).idx", PatternFile.bytes(0..<8 * Int64(page)))
    }
    let big = try folder.file("tmp/big.seg", PatternFile.bytes(0..<40 * Int64(page)))
    try CacheScene.evict(folder.path)
    for number in 1...40 { try CacheScene.touch(folder.appending("sub/f\(number).idx"), pages: 0..<(number % 8)) }
    try CacheScene.touch(big, pages: 0..<20)
    try folder.file("tmp/new.seg", PatternFile.bytes(0..<3 * Int64(page)))
    var options = ResidencyScanner.Options()
    options.top = 3
    func first(_ order: ResidencyScanner.Options.Order) throws -> [FileResidency] {
      options.order = order
      return try ResidencyScanner(options: options).scan(folder.path).files
    }
    #expect(try first(.resident).map(\.pages.resident) == [20, 7, 7])
    #expect(try first(.dirty).first?.path.lastComponent?.string == "new.seg")
    #expect(try first(.size).map(\.size) == [Int64(40 * page), Int64(8 * page), Int64(8 * page)])
    #expect(try first(.missing).map { $0.pages.pages - $0.pages.resident } == [20, 8, 8])
    options.top = nil
    #expect(try first(.resident).count == 43)
    options.top = 0
    var seen = 0
    #expect(try ResidencyScanner(options: options).scan(folder.path, each: { _ in seen += 1 }).files.isEmpty)
    #expect(seen == 43)
    for (patterns, count, leftOut) in [
      (["*.idx"], 40, 3), (["*.seg", "!new*"], 1, 42), (["!tmp"], 41, 1), (["sub/*"], 40, 3), (["!sub/f1*"], 32, 11),
      ([], 43, 0), (["[xy]*"], 0, 43), (["f?.idx"], 9, 34), (["*/*"], 42, 1),
    ] {
      options.patterns = FilePatterns(patterns)
      let walk = try ResidencyScanner(options: options).scan(folder.path).walk
      #expect(walk?.files == count && walk?.notMeant == leftOut, "\(patterns) \(String(describing: walk))")
    }
  }

  @Test func `a sparse file of a terabyte takes no time, and its one resident page is found`() throws {
    let folder = try TemporaryDirectory()
    guard try CacheScene.isPossible(in: folder) else { return }
    let path = try folder.file("sparse")
    guard Skips.require(truncate(path.string, 1 << 40) == 0, "large sparse files", install: "such a file system") else {
      return
    }
    try CacheScene.touch(path, pages: [123_456_789])
    let start = pgt_now_ns()
    let report = try ResidencyScanner().scan(path)
    #expect(report.pages.resident == 1 && report.pages.pages == 1 << 28 && report.files.first?.allocated == 0)
    #expect(try ResidentRanges(of: path).ranges == [123_456_789 * 4096..<123_456_790 * 4096])
    // Not a limit of time, but of work: page by page it would be minutes.
    #expect(pgt_now_ns() - start < 20_000_000_000)
  }

  @Test func `what is neither file nor folder is refused and never opened; failures below a folder are counted`() throws
  {
    let folder = try TemporaryDirectory()
    let fifo = folder.appending("fifo")
    #expect(fifo.withPlatformString { pgt_make_fifo($0) } == 0)
    try folder.file("f", [1])
    withWatchdog("fifo", seconds: 10) {
      for path in [fifo, "/dev/zero"] as [FilePath] {
        #expect { try ResidencyScanner().scan(path) } throws: {
          ($0 as? MappingError)?.code == .unsupportedFileType && "\($0)".hasSuffix("Give a regular file or a folder.")
        }
      }
    }
    let report = try ResidencyScanner().scan(folder.path)
    #expect(report.walk?.special == 1 && report.walk?.files == 1)
    var options = ResidencyScanner.Options()
    options.followsLinks = true
    #expect(symlink("nowhere", folder.appending("dangling").string) == 0)
    #expect(try ResidencyScanner(options: options).scan(folder.path).walk?.failures == 1)
    #expect { try ResidencyScanner().scan(folder.appending("none")) } throws: {
      ($0 as? MappingError)?.code == .notFound
    }
    #expect(try ResidencyScanner().scan(folder.path, isCancelled: { true }).isInterrupted)
  }

  @Test func `an empty file has no pages and is known`() throws {
    let folder = try TemporaryDirectory()
    let path = try folder.file("empty")
    let report = try ResidencyScanner().scan(path)
    #expect(report.pages.knownFiles == 1 && report.pages.pages == 0 && report.pages.share == nil)
    #expect(try ResidentRanges(of: path).ranges.isEmpty)
  }

  @Test(.rootOnly("mounts below a folder")) func `other file systems below a folder are left out by request`() throws {
    let folder = try TemporaryDirectory()
    try folder.file("f", [1])
    let mount = try MountedImage(tmpfs: 1 << 20)
    try [UInt8]([1, 2]).withUnsafeBytes { bytes in
      let file = try FileDescriptor.open(
        mount.appending("g"), .writeOnly, options: [.create], permissions: .ownerReadWrite)
      try file.closeAfter { _ = try file.writeAll(bytes) }
    }
    #expect(symlink(mount.path.string, folder.appending("other").string) == 0)
    var options = ResidencyScanner.Options()
    options.followsLinks = true
    #expect(try ResidencyScanner(options: options).scan(folder.path).walk?.files == 2)
    options.staysOnFileSystem = true
    let walk = try ResidencyScanner(options: options).scan(folder.path).walk
    #expect(walk?.files == 1 && walk?.otherFileSystems == 1)
  }
}

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

/// What stays is counted and explained, whatever the kernel's calls return.
@Suite(.serialized, .undisturbed) struct EvictTests {
  static let count = 64
  static var length: Int { count * Int(CacheScene.page) }

  /// A mapping of this process with every page touched.
  static func touched(_ path: FilePath) throws -> UnsafeMutableRawPointer {
    let file = try FileDescriptor.open(path, .readOnly)
    defer { try? file.close() }
    let base = try #require(pgt_map_file(file.rawValue, length, 0, false))
    // Children that other tests fork meanwhile would map it, too.
    #expect(madvise(base, length, MADV_DONTFORK) == 0)
    for page in 0..<count { _ = pgt_touch(base + page * Int(CacheScene.page)) }
    return base
  }

  @Test func `the truth table: mapped once, twice, one of two dropped, paged out, all unmapped`() throws {
    let folder = try TemporaryDirectory()
    guard try CacheScene.isPossible(in: folder) else { return }
    let path = try CacheScene.coldFile(folder, "f", size: Self.length)
    func stays(_ what: Comment, mappings: Int) throws {
      let report = try CacheEvictor().evict(path)
      #expect(report.before.resident == Int64(Self.count) && report.after.resident == Int64(Self.count), what)
      let file = try #require(report.stayed.first)
      #expect(report.stayedFiles == 1 && file.path == path, what)
      #expect(file.reasons == [.mapped(mappings: mappings, processes: 1, lockedBytes: 0)], what)
      #expect(file.holders?.holders.map(\.process.id) == [getpid()], what)
    }
    let one = try Self.touched(path)
    try stays("mapped once", mappings: 1)
    let two = try Self.touched(path)
    try stays("mapped twice", mappings: 2)
    // What others call an eviction: success, and all pages are there.
    #expect(madvise(one, Self.length, MADV_PAGEOUT) == 0)
    #expect(try CacheScene.mincore(path).allSatisfy { $0 })
    #expect(madvise(two, Self.length, MADV_DONTNEED) == 0)
    try stays("one of two dropped: the mapping is there, and the other one shows the pages", mappings: 2)
    // Shown by one mapping only: its owner can page it out.
    #expect(madvise(one, Self.length, MADV_PAGEOUT) == 0)
    #expect(try ResidencyScanner().scan(path).pages.resident == 0)
    try CacheScene.touch(path, pages: 0..<Self.count)
    pgt_unmap(one, Self.length)
    pgt_unmap(two, Self.length)
    let report = try CacheEvictor().evict(path)
    #expect(report.before.resident == Int64(Self.count) && report.after.resident == 0)
    #expect(report.stayed.isEmpty && report.stayedFiles == 0 && report.synced == 0)
  }

  @Test func `a locked page of another process is named with it`() throws {
    let folder = try TemporaryDirectory()
    guard try CacheScene.isPossible(in: folder) else { return }
    let path = try CacheScene.coldFile(folder, "f", size: Self.length)
    let child = try HoldingChild(path, [pgt_hold(0, 4 * CacheScene.page, locked: true)])
    let report = try CacheEvictor().evict(path)
    let file = try #require(report.stayed.first)
    #expect(report.after.resident >= 4)
    #expect(file.reasons == [.mapped(mappings: 1, processes: 1, lockedBytes: 4 * CacheScene.page)])
    #expect(file.holders?.holders.first?.process.id == child.id)
    var options = CacheEvictor.Options()
    options.namesHolders = false
    let unnamed = try #require(try CacheEvictor(options: options).evict(path).stayed.first)
    #expect(unnamed.holders == nil && unnamed.reasons == [.unknown])
  }

  @Test func `a process whose main thread has ended is named`() throws {
    let folder = try TemporaryDirectory()
    guard try CacheScene.isPossible(in: folder) else { return }
    let path = try CacheScene.coldFile(folder, "f", size: Self.length)
    let child = try HoldingChild(path, [pgt_hold(0, 4 * CacheScene.page, locked: true)], threads: .mainEnded)
    let file = try #require(try CacheEvictor().evict(path).stayed.first)
    #expect(file.reasons == [.mapped(mappings: 1, processes: 1, lockedBytes: 4 * CacheScene.page)])
    #expect(file.holders?.holders.map(\.process.id) == [child.id])
  }

  @Test func `dirty files are synced first, or left alone by request`() throws {
    let folder = try TemporaryDirectory()
    guard try CacheScene.isPossible(in: folder) else { return }
    let path = try folder.file("f", PatternFile.bytes(0..<Int64(Self.length)))
    var options = CacheEvictor.Options()
    options.dirty = .refuse
    let refused = try CacheEvictor(options: options).evict(path)
    #expect(refused.refused == 1 && refused.synced == 0 && refused.after.resident == Int64(Self.count))
    #expect(
      refused.stayed.first?.reasons.contains {
        if case .dirty = $0 { return true }
        if case .inWriteBack = $0 { return true }
        return false
      } == true)
    var syncs = 0
    let report = try CallWatch(before: {
      if $0.kind == .syncData { syncs += 1 }
      return .perform
    }).run { try CacheEvictor().evict(path) }
    #expect(syncs == 1 && report.synced == 1 && report.refused == 0 && report.after.resident == 0)
    #expect(try PatternFile.read(path, 0..<Int64(Self.length)) == PatternFile.bytes(0..<Int64(Self.length)))
  }

  @Test func `a failed sync is final, and the file is left alone`() throws {
    let folder = try TemporaryDirectory()
    guard try CacheScene.isPossible(in: folder) else { return }
    let path = try folder.file("f", PatternFile.bytes(0..<Int64(Self.length)))
    let watch = CallWatch(before: { $0.kind == .syncData ? .fail(.ioError) : .perform })
    #expect { try watch.run { try CacheEvictor().evict(path) } } throws: { "\($0)".contains("final") }
    #expect(try ResidencyScanner().scan(path).pages.resident == Int64(Self.count))
    let again = CallWatch(before: { $0.kind == .syncData ? .fail(.ioError) : .perform })
    let report = try again.run { try CacheEvictor().evict(folder.path) }
    #expect(report.walk?.failures == 2 && report.stayedFiles == 2)
  }

  @Test func `a range is evicted and the rest stays`() throws {
    let folder = try TemporaryDirectory()
    guard try CacheScene.isPossible(in: folder) else { return }
    let path = try CacheScene.coldFile(folder, "f", size: Self.length - 5)
    try CacheScene.touch(path, pages: 0..<Self.count)
    let page = CacheScene.page
    let report = try CacheEvictor().evict(path, range: 10 * page..<20 * page)
    #expect(report.before.resident == 10 && report.after.resident == 0)
    #expect(try ResidentRanges(of: path).ranges == [0..<10 * page, 20 * page..<Int64(Self.length - 5)])
    _ = try CacheEvictor().evict(path, range: 30 * page..<Int64.max)
    #expect(try ResidentRanges(of: path).ranges == [0..<10 * page, 20 * page..<30 * page])
    #expect(try CacheEvictor().evict(path, range: Int64.max - 1..<Int64.max).before.pages == 0)
  }

  @Test func `a folder is evicted; files that others map are named, most pages first`() throws {
    let folder = try TemporaryDirectory()
    guard try CacheScene.isPossible(in: folder) else { return }
    for number in 0..<20 { try folder.file("f\(number)", PatternFile.bytes(0..<Int64(Self.length))) }
    let small = try HoldingChild(folder.appending("f3"), [pgt_hold(0, 2 * CacheScene.page, locked: true)])
    let large = try HoldingChild(folder.appending("f7"), [pgt_hold(0, 9 * CacheScene.page, locked: true)])
    let report = try CacheEvictor().evict(folder.path)
    #expect(report.walk?.files == 21 && report.synced >= 20 && report.stayedFiles == 2)
    #expect(report.stayed.map { $0.path.lastComponent?.string } == ["f7", "f3"])
    #expect(report.stayed.map { $0.holders?.holders.first?.process.id } == [large.id, small.id])
  }

  @Test(.rootOnly("a tmpfs")) func `a file that lives in memory says so`() throws {
    let mount = try MountedImage(tmpfs: 1 << 20)
    let path = mount.appending("f")
    let file = try FileDescriptor.open(path, .writeOnly, options: [.create], permissions: .ownerReadWrite)
    try file.closeAfter { _ = try file.writeAll(PatternFile.bytes(0..<8192)) }
    let report = try CacheEvictor().evict(path)
    #expect(report.after.resident == 2)
    #expect(report.stayed.first?.reasons.first == .noDevice("tmpfs"))
    #expect(try PatternFile.read(path, 0..<8192) == PatternFile.bytes(0..<8192))
  }
}

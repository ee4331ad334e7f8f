// SPDX-License-Identifier: Apache-2.0

import AccessAdvisor
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

/// A folder's report: what was met, the classes, and the sums.
@Suite(.serialized) struct TreeTests {
  private static func makeFolder(_ path: FilePath) throws {
    guard path.withPlatformString({ mkdir($0, 0o700) }) == 0 else { throw Errno(rawValue: errno) }
  }

  @Test func `files are counted in their size class, with all their bytes`() throws {
    let folder = try TemporaryDirectory()
    try Self.makeFolder(folder.appending("below"))
    let sizes: [Int64] = [0, 1, 4096, 4097, 16 << 10, 16 << 10 + 1, 64 << 10, 256 << 10, 1 << 20, 1 << 20 + 1]
    for (index, size) in sizes.enumerated() {
      try folder.file(index % 2 == 0 ? "f\(size)" : "below/f\(size)", PatternFile.bytes(0..<size))
    }
    let report = try withWatchdog("classes") { try adviseTree(folder.path) }
    #expect(report.walk.files == sizes.count && report.walk.folders == 2 && report.walk.failures == 0)
    #expect(report.walk.bytes == sizes.reduce(0, +))
    // Upper bound, files, bytes; -1 for no bound.
    let expected: [[Int64]] = [
      [0, 1, 0], [4096, 2, 4097], [16_384, 2, 20_481], [65_536, 2, 81_921], [262_144, 1, 262_144],
      [1_048_576, 1, 1_048_576], [16_777_216, 1, 1_048_577],
    ]
    let classes: [[Int64]] = report.classes.map { [$0.upperBound ?? -1, Int64($0.files), $0.bytes] }
    #expect(classes == expected)
    for found in report.classes {
      #expect(found.wouldMap + found.wouldRead == found.files)
      #expect((found.sample == nil) == (found.bytes == 0))
      #expect(found.sample?.files ?? 0 <= found.files)
      #expect(found.sample?.result.regret != nil || found.bytes == 0)
    }
    #expect(report.classes[0].wouldRead == 1 && report.classes[1].wouldRead == 2)
    #expect(report.advice.contains("FileBytes(path, access: .onceWhole)"))
  }

  @Test func `the totals are the sums of the classes, and the best is the best of each`() throws {
    let folder = try TemporaryDirectory()
    for index in 0..<5 { try folder.file("s\(index)", PatternFile.bytes(0..<3000)) }
    for index in 0..<3 { try folder.file("m\(index)", PatternFile.bytes(0..<200_000)) }
    let report = try adviseTree(folder.path)
    let total = try #require(report.total)
    let rows = report.classes.compactMap { $0.sample?.result }
    #expect(rows.count == 2)
    func sum(_ time: (AccessResult) -> UInt64?) -> Double { rows.reduce(0) { $0 + Double(time($1) ?? 0) / 1e9 } }
    #expect(total.alwaysMap == sum { $0.cell(.map)?.medianNanoseconds })
    #expect(total.alwaysMapPopulate == sum { $0.cell(.mapPopulate)?.medianNanoseconds })
    #expect(total.alwaysRead == sum { $0.cell(.read)?.medianNanoseconds })
    #expect(total.alwaysStream == sum { $0.cell(.stream)?.medianNanoseconds })
    #expect(total.chosen == sum { $0.chosen?.medianNanoseconds })
    #expect(total.best == sum { $0.best?.medianNanoseconds })
    #expect(total.best <= min(total.alwaysMap, total.alwaysMapPopulate, total.alwaysRead, total.alwaysStream))
  }

  @Test func `of many files a sample is measured and extrapolated`() throws {
    let folder = try TemporaryDirectory()
    for index in 0..<50 { try folder.file("f\(index)", PatternFile.bytes(0..<700)) }
    let report = try adviseTree(folder.path, seconds: 1)
    let found = try #require(report.classes.first)
    #expect(found.files == 50 && found.bytes == 35_000)
    #expect(found.sample?.files == 32 && found.sample?.bytes == 32 * 700)
    #expect(found.sample?.result.chosen?.isExtrapolated == true)
    #expect(found.residentFraction == 1)
  }

  @Test func `links, second names, FIFOs and sockets are counted and left alone`() throws {
    let folder = try TemporaryDirectory()
    let file = try folder.file("file", [1, 2, 3])
    let fifo = folder.appending("fifo")
    #expect(fifo.withPlatformString { pgt_make_fifo($0) } == 0)
    #expect(folder.appending("socket").withPlatformString { pgt_make_socket($0) } >= 0)
    #expect(link(file.string, folder.appending("second").string) == 0)
    #expect(symlink("file", folder.appending("link").string) == 0)
    #expect(symlink("nowhere", folder.appending("dangling").string) == 0)
    let report = try withWatchdog("special", seconds: 20) { try adviseTree(folder.path) }
    #expect(report.walk.files == 1 && report.walk.bytes == 3 && report.walk.hardLinks == 1)
    #expect(report.walk.links == 2 && report.walk.special == 2 && report.walk.failures == 0)

    let followed = try withWatchdog("special, followed", seconds: 20) { try adviseTree(folder.path, follows: true) }
    #expect(followed.walk.files == 1 && followed.walk.hardLinks == 2 && followed.walk.links == 0)
    #expect(followed.walk.failures == 1 && followed.walk.firstFailures.first?.code == .notFound)
  }

  @Test func `loops of links are found and entered once`() throws {
    let folder = try TemporaryDirectory()
    try Self.makeFolder(folder.appending("a"))
    try folder.file("a/file", [1])
    #expect(symlink("..", folder.appending("a/up").string) == 0)
    #expect(symlink("self", folder.appending("self").string) == 0)
    let report = try withWatchdog("loop", seconds: 20) { try adviseTree(folder.path, follows: true) }
    #expect(report.walk.loops == 1 && report.walk.folders == 2 && report.walk.files == 1)
    #expect(report.walk.firstFailures.map(\.code) == [.symbolicLink])
    let unfollowed = try adviseTree(folder.path)
    #expect(unfollowed.walk.links == 2 && unfollowed.walk.loops == 0 && unfollowed.walk.failures == 0)
  }

  @Test func `holes are summed`() throws {
    let folder = try TemporaryDirectory()
    _ = try PatternFile(folder.appending("f"), size: 1 << 20, windows: [])
    let found = try #require(try adviseTree(folder.path).classes.first)
    #expect(found.sparseFiles == 1 && found.holeBytes == 1 << 20)
  }

  @Test func `a folder without files has a sentence`() throws {
    let folder = try TemporaryDirectory()
    let report = try adviseTree(folder.path)
    #expect(report.advice == "There is no file in it." && report.total == nil && report.classes.isEmpty)
  }

  @Test func `a folder that is no folder, or is missing, is an error`() throws {
    let folder = try TemporaryDirectory()
    let file = try folder.file("file", [1])
    #expect(failure { () throws(MappingError) in _ = try adviseTree(file) }?.code == .pathInvalid)
    let missing = folder.appending("missing")
    #expect(failure { () throws(MappingError) in _ = try adviseTree(missing) }?.code == .notFound)
  }

  @Test func `cancelling keeps what was found`() throws {
    let folder = try TemporaryDirectory()
    for index in 0..<20 { try folder.file("f\(index)", [1]) }
    for limit in [0, 5, 25] {
      let report = try adviseTree(folder.path, cancelAfter: limit)
      #expect(report.isInterrupted)
      #expect(report.walk.files <= min(limit, 20))
    }
  }

  @Test func `names of any bytes are walked`() throws {
    let folder = try TemporaryDirectory()
    let bytes: [CChar] = [0x62, -1, 0x0A, 0x1B, 0]
    let path = folder.path.appending(FilePath.Component(platformString: bytes)!)
    _ = try PatternFile(path, size: 100)
    let report = try adviseTree(folder.path, cold: true)
    #expect(report.walk.files == 1 && report.walk.failures == 0 && report.classes.first?.sample?.files == 1)
    #expect(report.isCold && report.eviction.map { $0.count > 0 } == true)
  }
}

// SPDX-License-Identifier: Apache-2.0

import AccessAdvisor
import MemoryMapping
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

/// What a report says about a file, against what the test has made of it.
@Suite(.serialized) struct FileFactTests {
  static let page = Int64(CutMapping.pageSize)

  @Test func `size, pages, type and file system`() throws {
    let folder = try TemporaryDirectory()
    let path = try storedFile(folder, "f", size: 3 * Self.page + 1)
    let file = try advise(path).file
    #expect(file.facts.size == 3 * Self.page + 1 && file.pages == 4 && file.pageSize == Int(Self.page))
    #expect(file.facts.type == .regular && file.facts.fileSystem != nil)
    let age = try #require(file.modifiedSecondsAgo)
    #expect(age >= -1 && age < 3600)
  }

  @Test func `residency is that before the measurement`() throws {
    let folder = try TemporaryDirectory()
    let path = try storedFile(folder, "f", size: 64 * Self.page)
    try drop(path)
    #expect(try advise(path).file.residentPages == 0)
    // The measurement itself has loaded it.
    let after = try advise(path).file
    #expect(after.residentPages == 64 && after.residentFraction == 1 && after.isResidencyExact)
  }

  @Test func `cold measurements evict, and say how well`() throws {
    let folder = try TemporaryDirectory()
    let path = try storedFile(folder, "f", size: 16 * Self.page)
    let cold = try advise(path, cold: true)
    let eviction = try #require(cold.measuring.eviction)
    #expect(cold.measuring.isCold && eviction.count >= cold.rounds && eviction.pagesThatStayed == 0)
    #expect(!cold.hazards.contains(.notEvicted))
    #expect(try advise(path).measuring.eviction == nil)
  }

  @Test func `pages that cannot be evicted are told`() throws {
    // Pages of a memory file system have nowhere to go.
    guard Skips.require(access("/dev/shm", W_OK) == 0, "a tmpfs at /dev/shm", install: "mount one") else { return }
    let folder = try TemporaryDirectory(in: "/dev/shm")
    let path = folder.appending("f")
    _ = try PatternFile(path, size: 8 * Self.page)
    let report = try advise(path, cold: true)
    #expect(report.measuring.eviction?.pagesThatStayed == 8)
    #expect(report.hazards.contains(.notEvicted))
    #expect(report.file.facts.fileSystem?.name == "tmpfs")
  }

  @Test func `pages that wait for write-back are counted`() throws {
    let folder = try TemporaryDirectory()
    let path = folder.appending("f")
    let file = try PatternFile(path, size: 4 * Self.page)
    _ = try file.descriptor.writeAll(toAbsoluteOffset: 0, [1])
    let report = try advise(path)
    guard Skips.require(report.file.facts.fileSystem?.name != "tmpfs", "dirty pages", install: "TMPDIR on a device")
    else { return }
    let dirty = try #require(report.file.dirtyPages)
    #expect(dirty >= 1 && report.hazards.contains(.dirty))
    guard fsync(file.descriptor.rawValue) == 0 else { throw Errno(rawValue: errno) }
    #expect(try advise(path).file.dirtyPages == 0)
  }

  @Test func `one fault maps as many pages as are told`() throws {
    let folder = try TemporaryDirectory()
    let size = 256 * Self.page
    let path = try storedFile(folder, "f", size: size)
    _ = try PatternFile.read(path, 0..<size)
    let told = try #require(try advise(path).file.facts.pagesPerFault)
    // What a fault maps depends on how the address and the file's folios lie to each other: one window, or a whole folio.
    var seen: Set<Int> = []
    for alignment in [nil, 1 << 16, 1 << 20, 2 << 20] {
      var options = MappedFile.Options()
      options.alignment = alignment
      let map = try MappedFile(path, options: options)
      let base = map.bytes.withUnsafeBytes { $0.baseAddress! }
      _ = pgt_touch(base + Int(size / 2))
      seen.insert((ProcessView.area(of: base)?.number("Rss") ?? -1) * 1024 / Int(Self.page))
    }
    #expect(seen.contains(told), "\(told) is none of \(seen)")
  }

  /// Parts with data, in pages of 4 KiB, and what follows for a file of 64 pages.
  static let holes: [(data: [Range<Int64>], count: Int, bytes: Int64)] = [
    ([0..<64], 0, 0), ([], 1, 64), ([0..<8], 1, 56), ([56..<64], 1, 56), ([8..<16], 2, 56), ([0..<8, 56..<64], 1, 48),
    ([8..<16, 24..<32, 48..<56], 4, 40),
  ]

  @Test func `holes are counted with their bytes`() throws {
    let folder = try TemporaryDirectory()
    withEvery("parts", in: Self.holes) { row in
      let path = folder.appending("f")
      let file = try PatternFile(
        path, size: 64 * 4096, windows: row.data.map { $0.lowerBound * 4096..<$0.upperBound * 4096 })
      guard fsync(file.descriptor.rawValue) == 0 else { throw Errno(rawValue: errno) }
      let report = try advise(path)
      check(report.file.holes?.count == row.count, "\(String(describing: report.file.holes))")
      check(report.file.holes?.bytes == row.bytes * 4096, "\(String(describing: report.file.holes))")
      check(report.hazards.contains(.sparse) == (row.count > 0), "\(report.hazards)")
    }
  }

  @Test func `another writer is found by process and name, and its absence too`() throws {
    let folder = try TemporaryDirectory()
    let path = try storedFile(folder, "f", size: 5000)
    #expect(try advise(path).file.writers == .none)
    let file = try FileDescriptor.open(path, .writeOnly, options: .closeOnExec)
    let report = try advise(path)
    try file.close()
    guard case .present(let process, let name) = report.file.writers else {
      Issue.record("writers are \(report.file.writers)")
      return
    }
    #expect(process == Int64(getpid()) && name?.isEmpty == false)
    #expect(report.hazards.contains(.writers))
    // A child that another test starts at this moment has the file open until it ends.
    try withWatchdog("the end of the writers", seconds: 60) {
      while try advise(path).file.writers != .none { usleep(10_000) }
    }
  }

  @Test func `nothing of the file or folder is changed`() throws {
    let folder = try TemporaryDirectory()
    let path = try storedFile(folder, "f", size: 300_000)
    let old = [timespec(tv_sec: 1_000_000_000, tv_nsec: 5), timespec(tv_sec: 1_100_000_000, tv_nsec: 7)]
    // An access time before the last change is moved by every usual read.
    for target in [path, folder.path] {
      #expect(target.withPlatformString { utimensat(AT_FDCWD, $0, old, 0) } == 0)
    }
    let before = [try Stamp(path), try Stamp(folder.path)]
    _ = try advise(path)
    _ = try advise(path, cold: true)
    _ = try adviseTree(folder.path)
    #expect([try Stamp(path), try Stamp(folder.path)] == before)
    #expect(try PatternFile.read(path, 0..<300_001) == PatternFile.bytes(0..<300_000))
  }
}

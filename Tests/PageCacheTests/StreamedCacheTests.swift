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

/// What a pass leaves in the page cache, and what it does where a method is refused.
@Suite(.serialized, .undisturbed) struct StreamedCacheTests {
  static let size = 40 << 20

  /// Every page of a file, true where it is in memory.
  static func pages(_ path: FilePath) throws -> [Bool] {
    let file = try FileDescriptor.open(path, .readOnly)
    defer { try? file.close() }
    let count = Int(try file.seek(offset: 0, from: .end))
    let base = try #require(pgt_map_file(file.rawValue, count, 0, false))
    defer { _ = pgt_unmap(base, count) }
    var vector = [UInt8](repeating: 0, count: (count + SystemPage.size - 1) / SystemPage.size)
    #expect(mincore(base, count, &vector) == 0)
    return vector.map { $0 & 1 != 0 }
  }

  /// What a consumer does: touches every page.
  static func touch(_ chunk: RawSpan) -> UInt64 {
    var sum: UInt64 = 0
    for at in stride(from: 0, to: chunk.byteCount, by: 4096) {
      sum &+= UInt64(chunk.unsafeLoad(fromByteOffset: at, as: UInt8.self))
    }
    return sum
  }

  @Test func `what the pass brought in leaves, what was there before stays, page by page`() throws {
    guard let base = try StreamSupport.deviceFolder("pages that stay and leave") else { return }
    let folder = try TemporaryDirectory(in: base)
    let path = folder.appending("f")
    _ = try PatternFile(path, size: Int64(Self.size))
    let page = SystemPage.size
    // At the start, single pages, a border of two windows, a whole window, and the end.
    let hot = [
      0..<3 * page, 5 << 20..<(5 << 20) + page, (5 << 20) + 2 * page..<(5 << 20) + 3 * page,
      (8 << 20) - page..<(8 << 20) + page, 16 << 20..<24 << 20, Self.size - page..<Self.size,
    ]
    withEvery("method", in: StreamSupport.methods) { method in
      withEvery("hot", in: [false, true]) { isHot in
        withEvery("range", in: [(0, nil), (3 << 20 | 77, 20 << 20)] as [(Int64, Int64?)]) { offset, length in
          try StreamSupport.evict(path)
          if isHot { for range in hot { try StreamSupport.load(path, range) } }
          let before = try Self.pages(path)
          check(before.contains(true) == isHot)
          var seen = StreamSupport.Seen(from: offset)
          let report = try StreamedFile(path, method: method, offset: offset, length: length).forEachChunk {
            seen.add($0, $1)
            return .continue
          }
          check(seen.firstWrong == nil)
          let after = try Self.pages(path)
          let lost = zip(before, after).count { $0 && !$1 }
          let added = zip(before, after).count { !$0 && $1 }
          check(lost == 0, "\(lost) pages of others were dropped: \(report)")
          check(added == 0, "\(added) pages were left: \(report)")
          check(report.isResidencyKnown && report.refusedAdvice == 0, "\(report)")
          if length == nil { check(report.pagesKept == before.count { $0 }, "\(report)") }
          if method == .read { check(report.pagesDropped > 0) }
        }
      }
    }
  }

  @Test func `a pass that ends early leaves nothing either: by a stop, an error, or the end of its scope`() throws {
    guard let base = try StreamSupport.deviceFolder("pages that leave") else { return }
    let folder = try TemporaryDirectory(in: base)
    let path = folder.appending("f")
    _ = try PatternFile(path, size: Int64(Self.size))
    struct Own: Error {}
    withEvery("method", in: StreamSupport.methods) { method in
      withEvery("end", in: ["stop", "error", "scope"]) { (end: String) in
        try StreamSupport.evict(path)
        let file = try StreamedFile(path, method: method)
        if end == "scope" {
          var pass = try file.pass()
          if let chunk = try pass.next() { _ = Self.touch(chunk.bytes) } else { check(false, "no chunk") }
          _ = consume pass
        } else {
          _ = try? file.forEachChunk { chunk, offset in
            _ = Self.touch(chunk)
            if offset < 2 << 20 { return .continue }
            if end == "error" { throw Own() }
            return .stop
          }
        }
        let left = try StreamSupport.resident(path)
        check(left == 0, "\(left ?? -1) pages are left")
      }
    }
  }

  @Test func `cached files are read from memory, and all of them stays`() throws {
    guard let base = try StreamSupport.deviceFolder("cached files") else { return }
    let folder = try TemporaryDirectory(in: base)
    let path = folder.appending("f")
    _ = try PatternFile(path, size: Int64(Self.size))
    let pages = Self.size / SystemPage.size
    #expect(try StreamSupport.resident(path) == pages)
    withEvery("method", in: StreamSupport.methods) { method in
      let report = try StreamedFile(path, method: method).forEachChunk { chunk, _ in
        _ = Self.touch(chunk)
        return .continue
      }
      check(
        try StreamSupport.resident(path) == pages && report.pagesKept == pages && report.pagesDropped == 0, "\(report)")
      check(report.methods.allSatisfy { $0.isCached }, "\(report)")
    }
  }

  @Test func `in a large file each method is tried and the fastest goes on`() throws {
    guard let base = try StreamSupport.deviceFolder("the choice of a method") else { return }
    let folder = try TemporaryDirectory(in: base)
    let path = folder.appending("f")
    // Holes: as many windows as are needed at the price of none.
    let file = try PatternFile(path, size: 2 << 30, windows: [0..<1 << 20])
    try StreamSupport.evict(path)
    let report = try StreamedFile(path).forEachChunk { chunk, _ in
      _ = Self.touch(chunk)
      return .continue
    }
    #expect(report.bytes == 2 << 30 && report.wasMeasured && report.reason.contains("fastest"), "\(report)")
    let used = Set(report.methods.filter { $0.bytes > 0 }.map(\.method))
    let refused = Set(report.methods.filter { $0.refusal != nil }.map(\.method))
    #expect(used.union(refused) == [.map, .read, .dontCache, .direct] && used.count >= 2, "\(report)")
    #expect(report.methods.reduce(0) { $0 + $1.bytes } == report.bytes)
    #expect(report.methods.reduce(0) { $0 + $1.windows } == report.windows)
    // Another pass over the same pages, now in memory.
    try file.resize(1 << 30)
    try StreamSupport.load(path, 0..<1 << 30)
    let warm = try StreamedFile(path).forEachChunk { chunk, _ in
      _ = Self.touch(chunk)
      return .continue
    }
    #expect(Set(warm.methods.filter(\.isCached).map(\.method)) == [.map, .read], "\(warm)")
    #expect(warm.pagesKept == (1 << 30) / SystemPage.size, "\(warm)")
  }

  @Test func `a tmpfs works by every method, and RWF_DONTCACHE, which it refuses, is replaced`() throws {
    let folder = try TemporaryDirectory(in: "/dev/shm")
    let path = folder.appending("f")
    _ = try PatternFile(path, size: 12 << 20)
    withEvery("method", in: StreamSupport.methods) { method in
      var seen = StreamSupport.Seen()
      let report = try StreamedFile(path, method: method).forEachChunk {
        seen.add($0, $1)
        return .continue
      }
      check(seen.firstWrong == nil && seen.bytes == 12 << 20, "\(seen)")
      if method == .dontCache {
        check(
          report.method == .read && report.methods.contains { $0.method == .dontCache && $0.refusal != nil },
          "\(report)")
        check(report.reason == "dontCache is refused here", report.reason)
      }
    }
  }

  @Test(.rootOnly("a file system without O_DIRECT"))
  func `O_DIRECT, which a ramfs refuses, is replaced`() throws {
    let folder = try TemporaryDirectory()
    let mount = folder.appending("mount")
    #expect(mkdir(mount.string, 0o700) == 0)
    guard
      Skips.require(
        mount.withPlatformString { pgt_mount("ramfs", $0, "ramfs", "") } == 0, "a ramfs", install: "the right to mount")
    else { return }
    defer { _ = mount.withPlatformString { pgt_unmount($0) } }
    let path = mount.appending("f")
    _ = try PatternFile(path, size: 10 << 20 | 5)
    var seen = StreamSupport.Seen()
    let report = try StreamedFile(path, method: .direct).forEachChunk {
      seen.add($0, $1)
      return .continue
    }
    #expect(seen.firstWrong == nil && seen.bytes == 10 << 20 | 5)
    #expect(
      report.method == .read && report.methods.contains { $0.method == .direct && $0.refusal != nil }, "\(report)")
  }

  @Test(.rootOnly("a file whose residency is hidden"))
  func `where the kernel hides what is in memory, methods that leave nothing are taken`() async throws {
    guard let base = try StreamSupport.deviceFolder("hidden residency") else { return }
    let folder = try TemporaryDirectory(in: base)
    let path = folder.appending("f")
    _ = try PatternFile(path, size: Int64(Self.size))
    #expect(chmod(folder.path.string, 0o755) == 0 && chmod(path.string, 0o644) == 0)
    try StreamSupport.evict(path)
    await #expect(processExitsWith: .success) { [name = path.string as String] in
      precondition(pgt_set_user(65534) == 0)
      var seen = StreamSupport.Seen()
      let report = try StreamedFile(FilePath(name)).forEachChunk {
        seen.add($0, $1)
        return .continue
      }
      precondition(seen.firstWrong == nil && seen.bytes == report.bytes)
      precondition(!report.isResidencyKnown && report.pagesDropped == 0 && report.pagesKept == 0)
      precondition(
        report.method == .dontCache || report.methods.contains { $0.method == .dontCache && $0.refusal != nil })
      precondition(report.method == .dontCache || report.method == .direct)
    }
    #expect(try StreamSupport.resident(path) ?? 0 == 0)
  }
}

// SPDX-License-Identifier: Apache-2.0

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

/// What options and page calls do, as the kernel tells it.
@Suite struct MappedFileOptionsTests {
  let page = SystemPage.size

  private func base(_ map: borrowing MappedFile) -> UnsafeRawPointer { map.bytes.withUnsafeBytes { $0.baseAddress! } }

  private func area(_ map: borrowing MappedFile) throws -> ProcessView.Area {
    let found = ProcessView.area(of: base(map))
    return try #require(found)
  }

  private func map(
    _ file: borrowing PatternFile, _ change: (inout MappedFile.Options) -> Void
  ) throws(MappingError) -> MappedFile {
    var options = MappedFile.Options()
    change(&options)
    return try MappedFile(file.path, options: options)
  }

  private func file(in folder: borrowing TemporaryDirectory, pages: Int = 16) throws -> PatternFile {
    try PatternFile(folder.appending("file"), size: Int64(pages * page))
  }

  @Test func `each option shows in the kernel's view of the mapping, and none by itself`() throws {
    let folder = try TemporaryDirectory()
    let file = try file(in: folder)
    let plain = try area(map(file) { _ in })
    #expect(plain.permissions == "r--s" && plain.number("Rss") == 0)
    #expect(plain.flags.isDisjoint(with: ["lo", "dc", "dd", "nr", "hg", "nh"]), "\(plain.flags)")

    #expect(try area(map(file) { $0.populate = true }).number("Rss") == 16 * page / 1024)
    #expect(try area(map(file) { $0.sharing = .private }).permissions == "r--p")
    #expect(try area(map(file) { $0.noReserve = true }).flags.contains("nr"))
    #expect(try area(map(file) { $0.fork = .omit }).flags.contains("dc"))
    #expect(try area(map(file) { $0.coreDump = .exclude }).flags.contains("dd"))
    let locked = try area(map(file) { $0.lock = .now })
    #expect(locked.flags.contains("lo") && locked.number("Locked") == 16 * page / 1024)
    let onFault = try area(map(file) { $0.lock = .onFault })
    #expect(onFault.flags.contains("lo") && onFault.number("Locked") == 0)
    // Hints for a feature that the kernel may be built without.
    let hasHugePages = access("/sys/kernel/mm/transparent_hugepage/enabled", F_OK) == 0
    if Skips.require(hasHugePages, "flags of huge pages", install: "a kernel with transparent huge pages") {
      #expect(try area(map(file) { $0.hugePages = .prefer }).flags.contains("hg"))
      #expect(try area(map(file) { $0.hugePages = .avoid }).flags.contains("nh"))
    }
    // Best effort, but never a reason to fail.
    #expect(try map(file) { $0.name = "pagewise test" }.content().count == 16 * page)
  }

  @Test(arguments: [4096, 1 << 16, 2 << 20, 1 << 30])
  func `the address is congruent to the file offset modulo the alignment`(alignment: Int) throws {
    let folder = try TemporaryDirectory()
    let file = try file(in: folder)
    withEvery("offset", in: [0, 1, page, 3 * page + 5]) { offset in
      var options = MappedFile.Options()
      options.alignment = alignment
      let map = try MappedFile(file.path, offset: Int64(offset), options: options)
      check(Int(bitPattern: base(map)) % alignment == offset % alignment, "\(base(map))")
      try check(map.content() == PatternFile.bytes(Int64(offset)..<Int64(16 * page)), "other bytes")
      // Nothing of the room that was reserved to choose from is left.
      let range = try area(map).range
      check(range.count == 16 * page - offset / page * page, "\(range)")
    }
    for bad in [0, -1, 3, page + 1, .max, .min] {
      #expect { _ = try map(file) { $0.alignment = bad } } throws: {
        ($0 as? MappingError)?.code == .invalidRange
      }
    }
  }

  @Test(.rootOnly("a limit of locked memory"))
  func `locking above the limit is an error with the remedy, and nothing stays mapped`() async throws {
    await #expect(processExitsWith: .success) {
      let folder = try TemporaryDirectory()
      let file = try PatternFile(folder.appending("file"), size: Int64(16 * SystemPage.size))
      guard chmod(folder.path.string, 0o755) == 0, chmod(file.path.string, 0o644) == 0,
        pgt_limit_memlock(UInt64(SystemPage.size)) == 0, pgt_set_user(65_534) == 0
      else { exit(3) }
      var options = MappedFile.Options()
      options.lock = .now
      do throws(MappingError) {
        _ = try MappedFile(file.path, options: options)
        exit(4)
      } catch { guard error.code == .lockLimitReached, "\(error)".contains("ulimit -l") else { exit(5) } }
      guard !ProcessView.text("/proc/self/maps").contains(file.path.string) else { exit(6) }
      let map = try MappedFile(file.path)
      // One page fits.
      try map.lock(5..<6)
      do throws(MappingError) {
        try map.lock()
        exit(7)
      } catch { exit(error.code == .lockLimitReached ? 0 : 8) }
    }
  }

  @Test func `each advice is taken or refused as not supported, for any range`() throws {
    let folder = try TemporaryDirectory()
    let file = try file(in: folder)
    let map = try map(file) { _ in }
    let all: [Advice] = [
      .normal, .sequential, .random, .willNeed, .cold, .pageOut, .hugePages, .noHugePages, .collapse,
    ]
    withEvery("advice", in: all) { advice in
      withEvery("bounds", in: [nil, 0..<0, 1..<2, page - 1..<page + 1, 0..<map.count]) { bounds in
        do throws(MappingError) { try map.advise(advice, bounds) } catch {
          check(error.code == .notSupported || error.code == .permissionDenied, "\(error)")
          check("\(error)".contains(advice.description), "the error does not name the advice: \(error)")
        }
      }
    }
    try check(map.content() == PatternFile.bytes(0..<Int64(16 * page)), "no advice changes a byte")
    // One of them leaves a trace that can be seen, on the pages asked for and no others.
    let fresh = try MappedFile(file.path)
    try fresh.advise(.random, 4 * page + 1..<5 * page + 1)
    let advised = ProcessView.area(of: base(fresh) + 4 * page)
    #expect(advised?.flags.contains("rr") == true && advised?.range.count == 2 * page, "\(String(describing: advised))")
    try map.discard(.dontNeed)
    try check(map.content() == PatternFile.bytes(0..<Int64(16 * page)), "file pages come back")
  }

  @Test func `prefault maps the pages asked for, and tells of a cut`() throws {
    let folder = try TemporaryDirectory()
    let file = try file(in: folder, pages: 64)
    let map = try map(file) { _ in }
    try map.prefault(page..<3 * page)
    #expect(try area(map).number("Rss") >= 2 * page / 1024)
    try map.prefault()
    #expect(try area(map).number("Rss") == 64 * page / 1024)
    try file.resize(Int64(10 * page + 5))
    #expect { try map.prefault() } throws: {
      ($0 as? MappingError)?.code == .truncated && ($0 as? MappingError)?.offset == Int64(10 * page + 5)
    }
    #expect { try map.probe() } throws: { ($0 as? MappingError)?.code == .truncated }
    try map.probe(0..<10 * page + 5)
    #expect(map.fault == nil, "neither raises a signal")
  }

  @Test func `residency counts the pages in the cache, whoever put them there`() throws {
    let folder = try TemporaryDirectory()
    let file = try file(in: folder, pages: 64)
    let map = try map(file) { _ in }
    let warm = try map.residency()
    #expect(warm.pages == 64 && warm.resident == 64 && warm.fraction == 1)
    #expect((warm.dirty ?? 0) > 0 || warm.dirty == nil, "just written")
    #expect(try map.residency(page - 1..<page + 1).pages == 2)
    let nothing = try map.residency(3..<3)
    #expect(nothing.pages == 0 && nothing.resident == 0 && nothing.fraction == 1)
    let isDropped = pgt_drop_caches(file.descriptor.rawValue) == 0
    guard try Skips.require(isDropped && map.residency().resident == 0, "eviction", install: "a disk for TMPDIR") else {
      return
    }
    try map.advise(.random)
    var byte: UInt8 = 0
    try withUnsafeMutableBytes(of: &byte) { try map.copy(20 * page..<20 * page + 1, into: $0) }
    let one = try map.residency(20 * page..<21 * page)
    #expect(one.resident == 1 && one.dirty == 0)
    let all = try map.residency().resident ?? -1
    #expect((1..<64).contains(all), "\(all) pages")
  }

  @Test(.rootOnly("the residency of another user's file"))
  func `residency is hidden from who may not know, and never all`() async throws {
    await #expect(processExitsWith: .success) {
      let folder = try TemporaryDirectory()
      let file = try PatternFile(folder.appending("file"), size: Int64(16 * SystemPage.size))
      guard chmod(folder.path.string, 0o755) == 0, chmod(file.path.string, 0o444) == 0, pgt_set_user(65_534) == 0
      else { exit(3) }
      let residency = try MappedFile(file.path).residency()
      exit(residency.resident == nil && !residency.isPermitted && residency.fraction == nil ? 0 : 4)
    }
  }

  @Test func `protection without access stops a stray touch and can be taken back`() async throws {
    await #expect(processExitsWith: .signal(SIGSEGV)) {
      let folder = try TemporaryDirectory()
      let file = try PatternFile(folder.appending("file"), size: Int64(2 * SystemPage.size))
      let map = try MappedFile(file.path)
      try map.protect(.none, 0..<1)
      try map.protect(.readOnly)
      guard try map.content().count == map.count else { exit(3) }
      try map.protect(.none, 0..<1)
      _ = pgt_touch(map.bytes.withUnsafeBytes { $0.baseAddress! })
      exit(4)
    }
  }

  @Test func `unlock ends a lock on its range`() throws {
    let folder = try TemporaryDirectory()
    let file = try file(in: folder)
    let map = try map(file) { _ in }
    try map.lock(0..<4 * page)
    #expect(try area(map).number("Locked") == 4 * page / 1024)
    try map.unlock()
    #expect(try area(map).number("Locked") == 0)
  }
}

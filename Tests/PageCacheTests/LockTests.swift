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

/// What is locked stays, and a limit explains itself.
@Suite(.serialized, .undisturbed) struct LockTests {
  @Test func `locked files are in memory and stay until the lock ends`() throws {
    let folder = try TemporaryDirectory()
    guard try CacheScene.isPossible(in: folder) else { return }
    let path = try CacheScene.coldFile(folder, "f", size: 16 * Int(CacheScene.page) - 3)
    do {
      var locked = LockedFiles()
      #expect(try locked.add(path) == nil)
      // The same file again, by another name, costs nothing.
      #expect(link(path.string, folder.appending("g").string) == 0)
      try locked.add(folder.appending("g"))
      #expect(locked.files == 1 && locked.bytes == 16 * CacheScene.page)
      let report = try CacheEvictor().evict(path)
      #expect(report.after.resident == 16)
      #expect(
        report.stayed.first?.reasons == [.mapped(mappings: 1, processes: 1, lockedBytes: 16 * CacheScene.page)])
      #expect(LockedFiles.Limit().used >= 16 * CacheScene.page)
    }
    #expect(try CacheEvictor().evict(path).after.resident == 0)
  }

  @Test func `a range, a folder by name, and pages only once they are loaded`() throws {
    let folder = try TemporaryDirectory()
    guard try CacheScene.isPossible(in: folder) else { return }
    let page = CacheScene.page
    let path = try CacheScene.coldFile(folder, "f", size: 16 * Int(page))
    var locked = LockedFiles()
    try locked.add(path, range: page + 1..<3 * page)
    #expect(locked.bytes == 2 * page)
    var options = LockedFiles.Options()
    options.onFault = true
    try locked.add(path, range: 8 * page..<12 * page, options: options)
    #expect(locked.bytes == 6 * page && locked.files == 2)
    for name in ["a.idx", "b.idx", "c"] { try folder.file(name, [1]) }
    options.patterns = FilePatterns(["*.idx"])
    options.onFault = false
    let walk = try locked.add(folder.path, options: options)
    #expect(walk?.files == 2 && locked.files == 4 && locked.bytes == 8 * page)
    #expect { try locked.add(folder.appending("none")) } throws: { ($0 as? MappingError)?.code == .notFound }
    #expect { try locked.add(path, isCancelled: { true }) } throws: { ($0 as? MappingError)?.code == .interrupted }
  }

  @Test func `the limit is an error that says what it allows, what is used and how to raise it`() async throws {
    // A process of its own: the limit and the user are changed.
    await #expect(processExitsWith: .success) {
      let folder = try TemporaryDirectory()
      let page = CacheScene.page
      let small = try folder.file("small", [UInt8](repeating: 1, count: 4 * Int(page)))
      let big = try folder.file("big", [UInt8](repeating: 1, count: 40 * Int(page)))
      guard chmod(folder.path.string, 0o755) == 0, chmod(small.string, 0o644) == 0, chmod(big.string, 0o644) == 0,
        pgt_limit_memlock(UInt64(16 * page)) == 0
      else { exit(3) }
      // Root may lock what it wants.
      if pgt_is_root(), pgt_set_user(65_534) != 0 { exit(4) }
      var locked = LockedFiles()
      do throws(MappingError) { try locked.add(small) } catch { exit(5) }
      let limit = LockedFiles.Limit()
      guard limit.bytes == 16 * page, limit.hard == 16 * page else { exit(6) }
      guard !limit.isPrivileged else { exit(12) }
      guard limit.used == 4 * page, limit.room == 12 * page else { exit(Int32(20 + limit.used / page)) }
      do throws(MappingError) {
        try locked.add(big)
        exit(7)
      } catch {
        let text = "\(error)"
        guard error.code == .lockLimitReached, error.path == big,
          text.contains("RLIMIT_MEMLOCK allows \(16 * page) bytes"),
          text.contains("\(4 * page) are used"), text.contains("\(40 * page) are wanted"), text.contains("LimitMEMLOCK")
        else { exit(8) }
      }
      guard locked.files == 1 else { exit(9) }
      do throws(MappingError) { try locked.add(big, range: 0..<12 * page) } catch { exit(10) }
      exit(locked.files == 2 ? 0 : 11)
    }
  }
}

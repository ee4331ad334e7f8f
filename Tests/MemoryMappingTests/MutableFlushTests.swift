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

/// What brings stores to the disk, and what a failure of it means.
@Suite struct MutableFlushTests {
  let page = SystemPage.size

  @Test(.rootOnly("file systems in images"), arguments: Disk.allCases)
  func `each level works on each file system, and the bytes are there after a new mount`(disk kind: Disk) throws {
    guard let disk = try kind.make() else { return }
    withEvery("level", in: FlushLevel.allCases) { level in
      let path = disk.appending("\(level)")
      var map = try MutableMappedFile(path, creating: .exclusive(size: Int64(4 * page + 11)), offset: 11)
      try map.copy(PatternFile.bytes(0..<Int64(4 * page)), to: 0)
      try map.flush(level)
      try map.store(UInt8(0xEE), at: page)
      try map.flush(level, page - 1..<page + 1)
      try map.flush(level, 5..<5)
      check(map.isPoisoned == false && map.fault == nil)
      check(try! Array(fileContent(path)[11...]) == map.content(), "other bytes")
    }
    if kind != .tmpfs {
      #expect(try Child.succeeds("mount", "-o", "remount,ro", disk.path.string))
      #expect(failure { _ = try MutableMappedFile(disk.appending("data")) }?.code == .readOnly)
      #expect(try PatternFile.read(disk.appending("data"), Int64(page + 11)..<Int64(page + 12)) == [0xEE])
    }
  }

  @Test func `dirty bytes rise with a store and are gone after a flush`() throws {
    // On a real disk: a memory file system has no disk to be behind.
    let folder = try TemporaryDirectory()
    let path = folder.appending("file")
    var map = try MutableMappedFile(path, creating: .exclusive(size: Int64(64 * page)))
    try map.flush(.device)
    guard let before = try map.dirtyBytes() else {
      Skips.note("dirty bytes", install: "Linux 6.5 or later")
      return
    }
    #expect(before == 0)
    try map.store(UInt8(1), at: 10 * page)
    try map.store(UInt8(1), at: 20 * page)
    let dirty = try map.dirtyBytes() ?? 0
    let part = try map.dirtyBytes(20 * page..<20 * page + 1) ?? 0
    #expect(dirty >= 2 * page && part >= page)
    #expect(try map.dirtyBytes(3..<3) == 0)
    try map.flush(.data)
    #expect(try map.dirtyBytes() == 0)
    try map.store(UInt8(1), at: 30 * page)
    try map.startWriteback()
    // It is on its way; waiting for it is the flush's task.
    try map.flush(.data, 30 * page..<30 * page + 1)
    #expect(try map.dirtyBytes() == 0)
  }

  @Test(.rootOnly("a file of another user"))
  func `dirty bytes are unknown where the kernel hides them`() async {
    await #expect(processExitsWith: .success) {
      let folder = try TemporaryDirectory()
      let path = try folder.file("file", PatternFile.bytes(0..<4096))
      prove(chmod(path.string, 0o644) == 0)
      let descriptor = try FileDescriptor.open(path, .readOnly)
      prove(pgt_set_user(65_534) == 0)
      var options = MappedFile.Options()
      options.sharing = .private
      let map = try MutableMappedFile(descriptor: descriptor, options: options)
      prove(try map.dirtyBytes() == nil)
    }
  }

  @Test func `each level makes its own call and no other`() throws {
    let folder = try TemporaryDirectory()
    let path = try folder.file("file", PatternFile.bytes(0..<Int64(4 * page)))
    let map = try MutableMappedFile(path)
    var calls: [CallWatch.Call] = []
    let watch = CallWatch(before: {
      calls.append($0)
      return .perform
    })
    let table: [(FlushLevel, Range<Int>?, CallWatch.Kind)] = [
      (.data, nil, .syncData), (.data, 100..<page + 1, .syncRange), (.device, nil, .syncFile),
      (.device, 0..<1, .syncFile), (.barrier, nil, .syncData), (.barrier, 0..<1, .syncData),
      (.queued, nil, .writeback), (.queued, page..<page + 1, .writeback),
    ]
    for (level, bounds, kind) in table {
      calls = []
      try watch.run { try map.flush(level, bounds) }
      #expect(calls.map(\.kind) == [kind], "\(level) \(String(describing: bounds))")
    }
    calls = []
    try watch.run { try map.startWriteback(page..<2 * page) }
    #expect(calls.map(\.kind) == [.writeback] && calls[0].offset == Int64(page) && calls[0].length == page)
    calls = []
    try watch.run { try map.flush(.data, page + 5..<page + 6) }
    #expect(calls[0].length == page, "whole pages")
  }

  @Test func `the first failed sync is final, although the kernel would report success`() throws {
    let folder = try TemporaryDirectory()
    withEvery("level", in: FlushLevel.allCases) { level in
      withEvery("bounds", in: [nil, 0..<page] as [Range<Int>?]) { bounds in
        let path = try folder.file("file", [UInt8](repeating: 0, count: 4 * page))
        var map = try MutableMappedFile(path)
        try map.store(UInt8(1), at: 5)
        let failing = CallWatch(before: {
          [.syncData, .syncFile, .syncRange, .writeback].contains($0.kind) ? .fail(.ioError) : .perform
        })
        let first = failing.run { failure { try map.flush(level, bounds) } }
        check(first?.code == .inputOutput && first?.operation == .flush && first?.path == path)
        check(map.isPoisoned, "not poisoned")
        var calls = 0
        let counting = CallWatch(before: { _ in
          calls += 1
          return .perform
        })
        counting.run {
          let later: [MappingError?] =
            FlushLevel.allCases.map { level in failure { try map.flush(level) } } + [
              failure { try map.flush(.data, 0..<1) }, failure { try map.startWriteback() },
              failure { try map.resize(to: page) }, failure { try map.resize(to: 9 * page) },
              failure { try map.reserve() }, failure { try map.punchHole(0..<1) },
              failure { try map.withMutableBytes { (_: inout MutableRawSpan) -> Void in } },
              failure { try map.withMutableBytes { (_: inout MutableRawSpan) throws -> Void in } },
            ]
          for error in later {
            check(error?.code == .syncFailed && error?.errno == .ioError, "\(String(describing: error))")
          }
        }
        check(calls == 0, "it asked the kernel again")
        // What is there can be read, and a new mapping starts anew.
        try check(map.load(at: 5, as: UInt8.self) == 1)
        // A recovered mapping stays poisoned.
        try map.recover()
        check(map.isPoisoned && map.count == 4 * page)
        let again = try MutableMappedFile(path)
        try again.flush(.data)
      }
    }
  }

  @Test func `a memory file has nothing to write back, and that is no failure`() throws {
    let number = pgt_memfd("flush", false, false)
    try #require(number >= 0)
    let descriptor = FileDescriptor(rawValue: number)
    defer { try? descriptor.close() }
    try descriptor.resize(to: Int64(2 * page))
    var map = try MutableMappedFile(descriptor: descriptor)
    try map.store(UInt8(1), at: 5)
    for level in FlushLevel.allCases { try map.flush(level) }
    try map.startWriteback()
    #expect(map.isPoisoned == false)
  }
}

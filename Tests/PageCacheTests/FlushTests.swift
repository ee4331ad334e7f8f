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

/// What is dirty is told, and a flush takes it away without touching anything.
@Suite(.serialized) struct FlushTests {
  /// A folder in which pages become dirty and wait: not a tmpfs.
  static func folder() throws -> TemporaryDirectory { try TemporaryDirectory() }

  @Test func `a file's dirty bytes are found, and are none after a flush`() throws {
    let folder = try Self.folder()
    let path = try folder.file("f", PatternFile.bytes(0..<300_000))
    let before = try DirtyScanner().scan(path)
    guard Skips.require(before.bytes.knownFiles == 1, "dirty bytes", install: "Linux 6.5 or later") else { return }
    #expect(before.walk == nil && before.size == 300_000 && before.largest.isEmpty)
    if before.fileSystem?.name != "tmpfs" { #expect(before.bytes.total >= 300_000 && before.dirtyFiles == 1) }
    let report = try FileFlusher().flush(path)
    #expect(report.files == 1 && report.folders == 0 && report.walk == nil && report.level == .data)
    #expect(report.before.total >= report.after.total && report.after.total == 0)
    #expect(try DirtyScanner().scan(path).bytes.total == 0)
    #expect(try PatternFile.read(path, 0..<300_000) == PatternFile.bytes(0..<300_000))
  }

  @Test func `each level makes the call that it is documented to make, for files and for folders`() throws {
    let folder = try Self.folder()
    try folder.file("f", [1, 2, 3])
    for (level, kinds) in [
      (FlushLevel.queued, [CallWatch.Kind.writeback]), (.data, [.writeback, .syncData, .syncFolder]),
      (.device, [.writeback, .syncFile, .syncFolder]), (.barrier, [.writeback, .syncData, .syncFolder]),
    ] {
      var seen: [CallWatch.Kind] = []
      var options = FileFlusher.Options()
      options.level = level
      let report = try CallWatch(before: {
        seen.append($0.kind)
        return .perform
      }).run { try FileFlusher(options: options).flush(folder.path) }
      #expect(seen == kinds, "\(level)")
      #expect(report.files == 1 && report.folders == (level == .queued ? 0 : 1))
    }
  }

  @Test func `files come first, then folders from the bottom up, and the own name if asked for`() throws {
    let folder = try Self.folder()
    for name in ["a", "a/b", "a/b/c"] { #expect(mkdir(folder.appending(name).string, 0o700) == 0) }
    for name in ["a/1", "a/b/2", "a/b/c/3"] { try folder.file(name, [1]) }
    #expect(symlink("/", folder.appending("a/link").string) == 0)
    var seen: [String] = []
    var options = FileFlusher.Options()
    options.syncsName = true
    let report = try CallWatch(before: {
      if $0.kind == .syncData { seen.append("file") }
      if let path = $0.path { seen.append(path) }
      return .perform
    }).run { try FileFlusher(options: options).flush(folder.appending("a")) }
    let folders = ["a/b/c", "a/b", "a", ""].map { $0.isEmpty ? folder.path.string : folder.appending($0).string }
    #expect(seen == ["file", "file", "file"] + folders)
    #expect(report.files == 3 && report.folders == 4 && report.walk?.links == 1 && report.walk?.failures == 0)
  }

  @Test(arguments: [Errno.ioError, .noSpace, .diskQuotaExceeded])
  func `a failed sync is an error that says it is final; in a folder the others are flushed`(_ errno: Errno) throws {
    let folder = try Self.folder()
    let path = try folder.file("f", [1])
    let watch = CallWatch(before: { $0.kind == .syncData ? .fail(errno) : .perform })
    #expect { try watch.run { try FileFlusher().flush(path) } } throws: {
      "\($0)".contains("a failed sync is final") && ($0 as? MappingError)?.path == path
    }
    for name in 0..<50 { try folder.file("g\(name)", [1]) }
    var number = 0
    let second = CallWatch(before: {
      if $0.kind == .syncFolder { return .fail(errno) }
      guard $0.kind == .syncData else { return .perform }
      number += 1
      return number % 10 == 2 ? .fail(errno) : .perform
    })
    let report = try second.run { try FileFlusher().flush(folder.path) }
    #expect(report.files == 46 && report.folders == 0 && report.walk?.failures == 6)
    #expect(report.walk?.firstFailures.allSatisfy { "\($0)".contains("final") } == true)
  }

  @Test func `folders are summed, and the files with most to write are named, most first`() throws {
    let folder = try Self.folder()
    #expect(mkdir(folder.appending("sub").string, 0o700) == 0)
    for number in 0..<200 { try folder.file("sub/small\(number)", [1]) }
    for number in 1...5 { try folder.file("f\(number)", [UInt8](repeating: 1, count: number * 100_000)) }
    var options = DirtyScanner.Options()
    options.top = 3
    let report = try DirtyScanner(options: options).scan(folder.path)
    guard Skips.require(report.bytes.isComplete, "dirty bytes", install: "Linux 6.5 or later"),
      Skips.require(report.fileSystem?.name != "tmpfs", "dirty bytes", install: "a TMPDIR on a disk")
    else { return }
    #expect(report.walk?.files == 205 && report.dirtyFiles == 205 && report.size == 1_500_200)
    #expect(report.largest.map { $0.path.lastComponent?.string } == ["f5", "f4", "f3"])
    #expect(report.bytes.total >= 1_500_000 + 200 * 4096)
    _ = try FileFlusher().flush(folder.path)
    let after = try DirtyScanner(options: options).scan(folder.path)
    #expect(after.bytes.total == 0 && after.dirtyFiles == 0 && after.largest.isEmpty)
    options.top = 0
    #expect(try DirtyScanner(options: options).scan(folder.path).largest.isEmpty)
  }

  @Test func `what is neither file nor folder is refused and never opened`() throws {
    let folder = try Self.folder()
    let fifo = folder.appending("fifo")
    #expect(fifo.withPlatformString { pgt_make_fifo($0) } == 0)
    withWatchdog("fifo", seconds: 10) {
      for path in [fifo, "/dev/zero"] as [FilePath] {
        #expect { try FileFlusher().flush(path) } throws: { ($0 as? MappingError)?.code == .unsupportedFileType }
        #expect { try DirtyScanner().scan(path) } throws: { ($0 as? MappingError)?.code == .unsupportedFileType }
      }
    }
    #expect(try FileFlusher().flush(folder.path).walk?.special == 1)
    #expect { try FileFlusher().flush(folder.appending("none")) } throws: {
      ($0 as? MappingError)?.code == .notFound
    }
  }

  @Test func `a cancelled run tells how far it came`() throws {
    let folder = try Self.folder()
    for name in 0..<100 { try folder.file("g\(name)", [1]) }
    var asked = 0
    let report = try FileFlusher().flush(
      folder.path,
      isCancelled: {
        asked += 1
        return asked > 40
      })
    #expect(report.isInterrupted && report.files == 40 && report.folders == 0)
    #expect(try DirtyScanner().scan(folder.path, isCancelled: { true }).isInterrupted)
  }
}

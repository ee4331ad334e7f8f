// SPDX-License-Identifier: Apache-2.0

import MemoryMapping
import SystemPackage
import Testing
import _CTestSupport
import _StorageModel
import _TestSupport

#if canImport(Glibc)
  import Glibc
#elseif canImport(Darwin)
  import Darwin
#endif

/// What `verify` says of growable files, and that the next open does what it says.
@Suite struct GrowableVerificationTests {
  static func code(_ path: FilePath) -> MappingError.Code? {
    do {
      _ = try GrowableMappedFile.verify(path)
      return nil
    } catch { return error.code }
  }

  static func overwrite(_ path: FilePath, at offset: Int64, _ bytes: [UInt8]) throws {
    let file = try FileDescriptor.open(path, .readWrite)
    try file.closeAfter { _ = try file.writeAll(toAbsoluteOffset: offset, bytes) }
  }

  /// 100 bytes flushed, then 200 flushed, then 50 committed.
  static func scene(_ path: FilePath, closing: Bool = false) throws {
    var file = try GrowableMappedFile(path, options: GrowableMappedFileTests.small)
    try file.append([UInt8](repeating: 1, count: 100).span.bytes)
    try file.flush()
    try file.append([UInt8](repeating: 2, count: 200).span.bytes)
    try file.flush()
    if closing { return try file.close() }
    try file.append([UInt8](repeating: 3, count: 50).span.bytes)
  }

  @Test func `lengths are those that the next open finds, and nothing is changed`() throws {
    let folder = try TemporaryDirectory()
    let path = folder.appending("log")
    try Self.scene(path)
    let before = try PatternFile.read(path, 0..<1 << 20)
    let found = try GrowableMappedFile.verify(path)
    #expect(found.committedCount == 350 && found.durableCount == 300 && found.stride == 0 && !found.isOpen)
    #expect(found.checkedCount == 250 && found.lostCount == 0)
    #expect(found.size == Int64(before.count) && found.excessCount == found.size - 4096 - 350)
    #expect(try PatternFile.read(path, 0..<1 << 20) == before)
    let file = try GrowableMappedFile(path)
    #expect(file.count == 350 && file.durableCount == 300)
    let open = try GrowableMappedFile.verify(path)
    #expect(open.isOpen && open.committedCount == 350 && open.durableCount == nil && open.excessCount == nil)
    try file.close()
    let closed = try GrowableMappedFile.verify(path)
    #expect(closed.excessCount == 0 && closed.size == 4096 + 350 && closed.durableCount == 350)
  }

  @Test func `a close that does not flush gives the space back and leaves the rest to the kernel`() throws {
    let folder = try TemporaryDirectory()
    let path = folder.appending("log")
    var file = try GrowableMappedFile(path, options: GrowableMappedFileTests.small)
    try file.append([1, 2, 3 as UInt8].span.bytes)
    var syncs = 0
    let watch = CallWatch(before: {
      if $0.kind == .syncData || $0.kind == .syncFile { syncs += 1 }
      return .perform
    })
    // A closure cannot consume what it captures.
    var holder = Optional(file)
    try watch.run { try holder.take()?.close(flushing: false) }
    #expect(syncs == 0)
    #expect(try GrowableMappedFileTests.size(path) == 4099)
    let found = try GrowableMappedFile.verify(path)
    #expect(found.committedCount == 3 && found.durableCount == 0 && found.excessCount == 0)
  }

  /// What is done to a file, and what is said then: bytes from where to overwrite, or a size to cut to.
  static let damages: [(name: String, at: Int64, cut: Bool, closing: Bool, code: MappingError.Code?)] = [
    ("the magic", 0, false, true, .invalidLayout), ("the version", 8, false, true, .notSupported),
    ("the stride", 12, false, true, .corrupt), ("the header's checksum", 24, false, true, .corrupt),
    ("data of the newest flush", 4096 + 250, false, true, .corrupt),
    ("data of the newest flush, committed more", 4096 + 250, false, false, .corrupt),
    ("cut within the newest flush", 4096 + 250, true, true, .truncated),
    ("cut within the oldest flush", 4096 + 50, true, true, .truncated),
    ("cut within the header", 100, true, true, .invalidLayout), ("cut behind the newest flush", 4396, true, false, nil),
    ("data that was committed", 4096 + 320, false, false, nil), ("both words of the length", 2560, false, true, nil),
  ]

  @Test func `damage is told with its place, and is never an open that passes for whole`() throws {
    withEvery("damage", in: Self.damages) { name, at, cut, closing, code in
      let folder = try TemporaryDirectory()
      let path = folder.appending("log")
      try Self.scene(path, closing: closing)
      if cut {
        #expect(truncate(path.string, off_t(at)) == 0)
      } else {
        try Self.overwrite(path, at: at, [0xA5, 0xA5, 0xA5, 0xA5])
      }
      check(Self.code(path) == code, "\(String(describing: Self.code(path)))")
      guard code == nil else { return }
      let found = try GrowableMappedFile.verify(path)
      let file = try GrowableMappedFile(path)
      check(file.count == found.committedCount, "\(file.count) is not \(found.committedCount)")
      if at != 2560 { check(found.lostCount == 50, "lost \(String(describing: found.lostCount))") }
    }
  }

  @Test func `what is no file of ours is refused`() throws {
    let folder = try TemporaryDirectory()
    #expect(Self.code(folder.path) == .isDirectory)
    #expect(Self.code(folder.appending("none")) == .notFound)
    #expect(Self.code(try folder.file("empty")) == .invalidLayout)
    #expect(Self.code(try folder.file("text", Array("hello\n".utf8))) == .invalidLayout)
    let fifo = folder.appending("fifo")
    #expect(fifo.withPlatformString { pgt_make_fifo($0) } == 0)
    withWatchdog("fifo", seconds: 10) { #expect(Self.code(fifo) == .unsupportedFileType) }
  }

  @Test func `beside a writer that appends, flushes, closes and opens again it is always whole`() throws {
    let folder = try TemporaryDirectory()
    let path = folder.appending("log")
    _ = try GrowableMappedFile(path, options: GrowableMappedFileTests.small)
    let stop = folder.appending("stop")
    withWatchdog("writer") {
      onThreads(2) { index in
        do {
          if index == 0 {
            for turn in 0..<40 {
              var file = try GrowableMappedFile(path, options: GrowableMappedFileTests.small)
              for number in 0..<200 {
                try file.append([UInt8](repeating: UInt8(turn), count: 100).span.bytes)
                if number % 50 == 0 { try file.flush() }
              }
              if turn % 2 == 0 { try file.close() }
            }
            close(open(stop.string, O_CREAT | O_WRONLY, 0o600))
          } else {
            var last = 0
            while access(stop.string, F_OK) != 0 {
              let found = try GrowableMappedFile.verify(path)
              #expect(found.committedCount >= last && found.lostCount ?? 0 == 0)
              last = found.committedCount
            }
          }
        } catch { Issue.record("\(error)") }
      }
    }
    #expect(try GrowableMappedFile.verify(path).committedCount == 40 * 200 * 100)
  }
}

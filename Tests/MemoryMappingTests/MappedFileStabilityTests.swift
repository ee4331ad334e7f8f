// SPDX-License-Identifier: Apache-2.0

import MemoryMapping
import Synchronization
import SystemPackage
import Testing
import _CTestSupport
import _TestSupport

#if canImport(Glibc)
  import Glibc
#elseif canImport(Darwin)
  import Darwin
#endif

/// Leases and snapshots: the loss cannot happen. Seals are tested with memory files.
@Suite(.serialized) struct MappedFileStabilityTests {
  private func map(
    _ path: FilePath, _ stability: MappedFile.Options.Stability, offset: Int64 = 0, length: Int? = nil
  ) throws(MappingError) -> MappedFile {
    var options = MappedFile.Options()
    options.stability = stability
    return try MappedFile(path, offset: offset, length: length, options: options)
  }

  private func code(_ path: FilePath, _ stability: MappedFile.Options.Stability) -> MappingError.Code? {
    do throws(MappingError) {
      _ = try map(path, stability)
      return nil
    } catch { return error.code }
  }

  @Test func `a lease keeps writers out until the mapping ends, and its break is no harm`() throws {
    let folder = try TemporaryDirectory()
    let bytes = PatternFile.bytes(0..<10_000)
    let path = try folder.file("file", bytes)
    let breaks = pgt_count_signal(SIGURG)
    do {
      let map = try map(path, .lease)
      #expect(map.isLeaseHeld == true)
      // A writer that does not wait is refused. The notice of it comes as SIGURG.
      #expect(throws: Errno.resourceTemporarilyUnavailable) {
        _ = try FileDescriptor.open(path, .writeOnly, options: .nonBlocking)
      }
      #expect(map.isLeaseHeld == false, "somebody waits")
      try check(map.content() == bytes, "other bytes")
      // A reader is not.
      try check(MappedFile(path).content() == bytes, "other bytes")
    }
    // Any thread may get it, when it pleases the kernel.
    withWatchdog("the notice of a lease break", seconds: 30) {
      while pgt_count_signal(SIGURG) <= breaks { pgt_sleep_us(1000) }
    }
    let writer = try FileDescriptor.open(path, .writeOnly, options: .nonBlocking)
    try writer.close()
  }

  @Test func `a cut by path waits for the lease's holder`() throws {
    let folder = try TemporaryDirectory()
    let bytes = PatternFile.bytes(0..<10_000)
    let path = try folder.file("file", bytes)
    _ = pgt_count_signal(SIGURG)
    let map = try map(path, .lease)
    let isCut = Atomic<Bool>(false)
    withWatchdog("a cut that waits for a lease", seconds: 60) {
      onThreads(2) { number in
        if number == 0 {
          // The shell opens as most programs do: it waits. truncate(1) would be refused.
          check((try? Child.succeeds("sh", "-c", ": > \"$0\"", path.string)) == true, "the shell cannot cut it")
          isCut.store(true, ordering: .releasing)
        } else {
          // Until the other side has come to its system call.
          while map.isLeaseHeld { pgt_sleep_us(1000) }
          pgt_sleep_us(50_000)
          check(!isCut.load(ordering: .acquiring), "the file was cut under the lease")
          check((try? map.content()) == bytes, "the bytes are not whole")
          // What the end of the mapping does; here it lives on to see the consequence.
          let own = ProcessView.descriptors { $0 == path.string }.map(\.number)
          check(own.count == 1 && pgt_lease(own.first ?? -1, 2) == 0, "cannot release")
        }
      }
      #expect(throws: MappingError.self) { try map.content().count }
    }
  }

  @Test func `a file that somebody has open for writing gets no lease`() throws {
    let folder = try TemporaryDirectory()
    let path = try folder.file("file", [1, 2, 3])
    let writer = try FileDescriptor.open(path, .readWrite)
    #expect(code(path, .lease) == .leaseRefused)
    try writer.close()
    #expect(code(path, .lease) == nil)
  }

  @Test func `a snapshot is the file as it was, whatever becomes of the file`() throws {
    let folder = try TemporaryDirectory()
    let bytes = PatternFile.bytes(0..<300_000)
    let path = try folder.file("file", bytes)
    let all = try map(path, .snapshot)
    let part = try map(path, .snapshot, offset: 5, length: 200_000)
    let file = try FileDescriptor.open(path, .readWrite)
    _ = try file.writeAll(toAbsoluteOffset: 0, [UInt8](repeating: 0, count: 100))
    try file.resize(to: 0)
    try file.close()
    #expect(try Child.succeeds("rm", path.string))
    try check(all.content() == bytes && part.content() == Array(bytes[5..<200_005]), "other bytes")
    #expect(all.isCurrent && all.identity.size == 300_000)
    var lines = all.lines()
    while try lines.next() != nil {}
    #expect(all.fault == nil)
  }

  @Test func `a snapshot of an empty file is empty`() throws {
    let folder = try TemporaryDirectory()
    #expect(try map(folder.file("empty"), .snapshot).count == 0)
  }

  @Test func `a snapshot of a file that is rewritten all the time is whole or an error`() throws {
    let folder = try TemporaryDirectory()
    let size = 64 * SystemPage.size
    let file = try PatternFile(folder.appending("file"), size: Int64(size))
    let writer = try WriterProcess(file.path, size: size, .anywhere, seed: 5)
    var whole = 0
    var refused = 0
    withWatchdog("snapshots of a changing file", seconds: 60) {
      for _ in 0..<300 {
        do throws(MappingError) {
          let snapshot = try map(file.path, .snapshot)
          whole += 1
          // Cuts and holes are the file's own; a byte that is neither pattern nor hole is torn.
          let wrong = try snapshot.withBytes { (span: RawSpan) -> Int64 in
            span.withUnsafeBytes { pgt_pattern_mismatch_or($0.baseAddress!, $0.count, 0, 0) }
          }
          check(wrong == -1, "byte \(wrong) is neither")
        } catch { refused += [.changed, .truncated].contains(error.code) ? 1 : 1000 }
      }
    }
    _ = consume writer
    #expect(code(file.path, .snapshot) == nil, "once nobody writes")
    #expect(refused <= 300, "an error of another kind")
    print("snapshots of a changing file: \(whole) whole, \(refused) refused")
  }

  @Test(.rootOnly("a reflinking file system"), arguments: [MountedImage.FileSystem.xfs, .btrfs])
  func `a snapshot on a reflinking file system shares its blocks`(system: MountedImage.FileSystem) throws {
    guard Skips.require(Skips.hasProgram(system.program), "\(system)", install: system.package) else { return }
    let disk = try MountedImage(system)
    let size: Int64 = 8 << 20
    let file = try PatternFile(disk.appending("file"), size: size)
    fsync(file.descriptor.rawValue)
    let snapshot = try map(file.path, .snapshot)
    let name = ProcessView.area(of: snapshot.bytes.withUnsafeBytes { $0.baseAddress! })?.name
    #expect(name?.hasPrefix(disk.path.string) == true, "an unnamed file beside the source, not memory: \(name ?? "")")
    try file.resize(0)
    try check(snapshot.content() == PatternFile.bytes(0..<size), "other bytes")
  }
}

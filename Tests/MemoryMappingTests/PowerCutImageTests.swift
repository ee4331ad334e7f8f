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

/// Power cuts of real file systems: a writer works on a file system in an image file; the image lies on XFS, where it is cloned at
/// random moments, and each clone is mounted and opened. Or the file system is shut down under the writer by its ioctl, unmounted and
/// mounted again.
///
/// What these do not see is a volatile cache of the drive: a sync that is missing between two writes passes. That is what the
/// enumeration of TransactionalCrashTests is for.
@Suite(.serialized) struct PowerCutImageTests {
  static let isLong = getenv("PAGEWISE_LONG") != nil
  static let clones = isLong ? 50 : 3
  static let shutdowns = isLong ? 25 : 2

  enum Way: String, CaseIterable, Sendable {
    case transactions
    case flushedAppends = "flushed-appends"
    case msync
  }

  struct Tally {
    var images = 0, torn = 0, lost = 0, replays = 0
  }

  /// Looks at what a cut has left in a mounted file system.
  static func check(_ way: Way, _ path: FilePath, acknowledged: UInt64, _ tally: inout Tally) throws {
    tally.images += 1
    guard access(path.string, F_OK) == 0 else {
      if acknowledged > 0 { tally.lost += 1 }
      return
    }
    switch way {
    case .transactions:
      let file = try TransactionalFile(path, creating: .ifMissing(size: Int64(StorageModel.Scattered.firstSize)))
      if file.recovery.replayedCommits > 0 { tally.replays += 1 }
      compare(try TransactionalFileTests.bytes(file), acknowledged, &tally)
    case .msync: compare(try TransactionalFileTests.content(path), acknowledged, &tally)
    case .flushedAppends:
      let file = try GrowableMappedFile(path)
      guard let found = StorageModel.Records.count(try GrowableMappedFileTests.bytes(file)) else {
        tally.torn += 1
        return
      }
      if found < acknowledged { tally.lost += 1 }
    }
  }

  private static func compare(_ content: [UInt8], _ acknowledged: UInt64, _ tally: inout Tally) {
    let number = StorageModel.Scattered.number(of: content)
    var model = StorageModel.Scattered()
    while model.number < min(number, acknowledged + 10_000) { model.advance() }
    // A file whose first state was not reached yet may have any size.
    if content != model.content, number > 0 || content.contains(where: { $0 != 0 }) { tally.torn += 1 }
    if number < acknowledged { tally.lost += 1 }
  }

  static func report(_ what: String, _ way: Way, _ tally: Tally) {
    print(
      "\(what), \(way.rawValue): \(tally.images) images, \(tally.torn) torn, \(tally.lost) acknowledged lost, \(tally.replays) replayed"
    )
    // Stores in place are not atomic: what the harness finds there is reported, not promised.
    if way == .msync { return }
    #expect(tally.torn == 0 && tally.lost == 0 && tally.images > 0, "\(what), \(way.rawValue): \(tally)")
  }

  @Test(.rootOnly("file systems in images"), arguments: [MountedImage.FileSystem.ext4, .xfs], Way.allCases)
  func `clones of an image at any moment hold every acknowledged commit, whole`(
    _ system: MountedImage.FileSystem, _ way: Way
  ) throws {
    guard Skips.require(Skips.hasProgram("mkfs.xfs"), "clones of images", install: "apt-get install xfsprogs") else {
      return
    }
    let outer = try MountedImage(.xfs, size: 2 << 30)
    let inner = try MountedImage(system, in: outer.path)
    guard let image = inner.image else { return }
    var random = Random(seed: UInt64(system.rawValue.utf8.count))
    var child = try RunningChild([KilledWriterTests.writer, way.rawValue, inner.appending("data").string])
    var tally = Tally()
    for number in 0..<Self.clones {
      pgt_sleep_us(UInt32(20_000 + random.below(60_000)))
      let clone = outer.appending("clone\(number)")
      let acknowledged = try KilledWriterTests.acknowledged(child.output)
      try #require(pgt_clone_file(image.string, clone.string) == 0)
      let mounted = try MountedImage(mounting: clone, system)
      try Self.check(way, mounted.appending("data"), acknowledged: acknowledged, &tally)
      _ = consume mounted
      unlink(clone.string)
    }
    child.kill()
    Self.report("clones of \(system.rawValue)", way, tally)
  }

  @Test(.rootOnly("shutting file systems down"), arguments: [MountedImage.FileSystem.ext4, .xfs], Way.allCases)
  func `a file system that is shut down under the writer keeps every acknowledged commit, whole`(
    _ system: MountedImage.FileSystem, _ way: Way
  ) throws {
    guard Skips.require(Skips.hasProgram(system.program), "shutting down \(system.rawValue)", install: system.package)
    else { return }
    var random = Random(seed: 77)
    var tally = Tally()
    var acknowledged: UInt64 = 0
    var disk = try MountedImage(system)
    for _ in 0..<Self.shutdowns {
      var child = try RunningChild([KilledWriterTests.writer, way.rawValue, disk.appending("data").string])
      pgt_sleep_us(UInt32(20_000 + random.below(80_000)))
      try disk.shutDown()
      // It meets an error and ends, or waits for nothing: no writer outlives its file system.
      _ = child.wait(seconds: 20)
      let lines = child.output.split(separator: "\n").compactMap { UInt64($0) }
      acknowledged = max(acknowledged, lines.last ?? 0)
      try disk.remount(system)
      try Self.check(way, disk.appending("data"), acknowledged: acknowledged, &tally)
      // In place, a torn state is what the next round begins with; begin anew.
      if way == .msync {
        unlink(disk.appending("data").string)
        acknowledged = 0
      }
    }
    Self.report("shutdowns of \(system.rawValue)", way, tally)
  }

  /// A sync that is under way when its file system ends may be answered with 0 for a transaction that was dropped: ext4 does it for
  /// files, XFS for files and folders. Each sync of these writers has a transaction to lose: where nobody asks again, 5 to 15 of 100
  /// shutdowns of ext4 and one of 100 of XFS lose what was acknowledged.
  @Test(
    .rootOnly("shutting file systems down"), arguments: [MountedImage.FileSystem.ext4, .xfs], ["pages", "replacements"])
  func `a sync under which the file system ends does not say that all is well`(
    _ system: MountedImage.FileSystem, _ way: String
  ) throws {
    guard Skips.require(Skips.hasProgram(system.program), "shutting down \(system.rawValue)", install: system.package)
    else { return }
    var random = Random(seed: 5)
    var disk = try MountedImage(system)
    var lost: [(acknowledged: UInt64, found: UInt64)] = []
    var acknowledgedSyncs: UInt64 = 0
    for _ in 0..<Self.shutdowns * 10 {
      let path = disk.appending("data")
      unlink(path.string)
      var child = try RunningChild([KilledWriterTests.writer, way, path.string])
      pgt_sleep_us(UInt32(10_000 + random.below(20_000)))
      try disk.shutDown()
      _ = child.wait(seconds: 20)
      let acknowledged = child.output.split(separator: "\n").compactMap { UInt64($0) }.last ?? 0
      try disk.remount(system)
      let content = access(path.string, F_OK) == 0 ? try TransactionalFileTests.content(path) : []
      var found: UInt64 = 0
      let numbers = stride(from: 0, to: max(0, content.count - 7), by: 4096).map { offset in
        content[offset..<offset + 8].reversed().reduce(UInt64(0)) { $0 << 8 | UInt64($1) }
      }
      if way == "pages" {
        while found < numbers.count, numbers[Int(found)] == found + 1 { found += 1 }
      } else {
        found = numbers.first ?? 0
      }
      acknowledgedSyncs += acknowledged
      if found < acknowledged { lost.append((acknowledged, found)) }
    }
    let rounds = Self.shutdowns * 10
    print("shutdowns of \(system.rawValue), \(way): \(rounds), \(acknowledgedSyncs) syncs, \(lost.count) lost")
    #expect(lost.isEmpty && acknowledgedSyncs > 0, "\(system.rawValue), \(way): \(lost)")
  }
}

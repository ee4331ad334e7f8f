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

/// A store never kills, and no byte is lost in silence, wherever space runs out.
@Suite(.serialized) struct MutableFullDiskTests {
  let page = SystemPage.size
  static let pages = 192

  /// Every third page has content, the others are holes.
  private func withHoles(_ path: FilePath) throws {
    let windows = stride(from: 0, to: Self.pages, by: 3).map { Int64($0 * page)..<Int64(($0 + 1) * page) }
    _ = try PatternFile(path, size: Int64(Self.pages * page), windows: windows)
    try sync(path)
  }

  private func sync(_ path: FilePath) throws {
    let file = try FileDescriptor.open(path, .readWrite)
    try file.closeAfter { guard pgt_drop_caches(file.rawValue) == 0 else { throw Errno(rawValue: errno) } }
  }

  private func play(_ path: FilePath, on disk: borrowing MountedImage) throws -> [String] {
    try disk.fillUp()
    var scene = try FullDiskScene(path)
    let filler = disk.appending("filler")
    return try scene.play { guard try Child.succeeds("rm", filler.string) else { throw Errno.ioError } }
  }

  @Test(.rootOnly("full file systems"), arguments: Disk.allCases)
  func `holes: no store is lost in silence, and all land once there is space`(disk kind: Disk) throws {
    guard let disk = try kind.make() else { return }
    let path = disk.appending("file")
    try withHoles(path)
    #expect(try play(path, on: disk) == [])
  }

  @Test(.rootOnly("a full btrfs"))
  func `existing data of a file system that writes each change to a new place`() throws {
    guard let disk = try Disk.btrfs.make() else { return }
    let path = disk.appending("file")
    _ = try PatternFile(path, size: Int64(Self.pages * page))
    try sync(path)
    #expect(try play(path, on: disk) == [])
  }

  @Test(.rootOnly("a full XFS"))
  func `existing data that is shared with a clone`() throws {
    guard let disk = try Disk.xfs.make() else { return }
    let path = disk.appending("file")
    let original = try PatternFile(disk.appending("original"), size: Int64(Self.pages * page))
    let clone = try FileDescriptor.open(path, .readWrite, options: [.create], permissions: .ownerReadWrite)
    try clone.closeAfter { #expect(pgt_clone(clone.rawValue, original.descriptor.rawValue) == 0) }
    try sync(original.path)
    #expect(try play(path, on: disk) == [])
    #expect(try fileContent(original.path) == PatternFile.bytes(0..<Int64(Self.pages * page)))
  }

  /// By a group of btrfs: this kernel's ext4 and XFS may be built without quotas. It limits root as well.
  @Test(.rootOnly("a quota on btrfs"), arguments: [true, false])
  func `a quota is a full disk`(overwriting: Bool) throws {
    guard let disk = try Disk.btrfs.make(),
      Skips.require(Skips.hasProgram("btrfs"), "quota", install: MountedImage.FileSystem.btrfs.package)
    else { return }
    let part = disk.appending("part")
    for arguments in [
      ["quota", "enable", disk.path.string], ["subvolume", "create", part.string],
      ["qgroup", "limit", "1200K", part.string],
    ] {
      let done = try Child.run(["btrfs"] + arguments)
      try #require(done.status == 0, "\(done.output)")
    }
    let path = part.appending("file")
    if overwriting { _ = try PatternFile(path, size: Int64(Self.pages * page)) } else { try withHoles(path) }
    try sync(path)
    let filler = part.appending("filler")
    let file = try FileDescriptor.open(filler, .writeOnly, options: [.create], permissions: .ownerReadWrite)
    #expect(throws: Errno.self) {
      try file.closeAfter { while true { try file.writeAll([UInt8](repeating: 1, count: 4096)) } }
    }
    var scene = try FullDiskScene(path)
    let complaints = try scene.play {
      guard try Child.succeeds("rm", filler.string), try Child.succeeds("btrfs", "qgroup", "limit", "none", part.string)
      else { throw Errno.ioError }
    }
    #expect(complaints.prefix(3) == [])
  }

  @Test func `a limit on file sizes is an error where a file grows, and no limit for stores`() async {
    await #expect(processExitsWith: .success) {
      let page = SystemPage.size
      let folder = try TemporaryDirectory()
      let large = try folder.file("large", [UInt8](repeating: 0, count: 4 * page))
      let small = try folder.file("small", [UInt8](repeating: 0, count: page))
      prove(pgt_limit_file_size(UInt64(2 * page)) == 0)
      var map = try MutableMappedFile(small)
      let error = failure { try map.resize(to: 3 * page) }
      prove(error?.code == .limitExceeded && error?.path == small && error?.errno == .fileTooLarge)
      prove(map.count == page && fileStatus(small).size == page)
      try map.resize(to: 2 * page)
      try map.store(UInt8(1), at: 2 * page - 1)
      for creation in [MutableMappedFile.Creation.exclusive(size: 8193), .ifMissing(size: 1 << 40)] {
        prove(
          failure { _ = try MutableMappedFile(folder.appending("new"), creating: creation) }?.code == .limitExceeded)
      }
      let replaced = failure { try replaceFile(small, with: [UInt8](repeating: 1, count: 3 * page).span.bytes) }
      prove(replaced?.code == .limitExceeded)
      prove(names(in: folder.path) == ["large", "small"])
      // What is there already may be stored to, reserved and flushed, also behind the limit.
      var there = try MutableMappedFile(large)
      try there.store(UInt8(7), at: 4 * page - 1)
      try there.withMutableBytes { (span: inout MutableRawSpan) -> Void in
        span.storeBytes(of: 8, toByteOffset: 3 * page, as: UInt8.self)
      }
      try there.reserve()
      try there.flush(.data)
      prove(try fileContent(large)[3 * page] == 8)
    }
  }

  @Test(.rootOnly("EIO by a file system in a shut-down file system"))
  func `a failed device is an error that says so, for stores and for flushes`() throws {
    guard Skips.require(Skips.hasProgram("mkfs.ext4"), "EIO", install: MountedImage.FileSystem.ext4.package) else {
      return
    }
    let outer = try MountedImage(.ext4, size: 64 << 20)
    let inner = try MountedImage(.ext4, in: outer.path)
    let path = inner.appending("file")
    _ = try PatternFile(path, size: Int64(64 * page))
    try sync(path)
    try inner.forgetImage()
    var map = try MutableMappedFile(path)
    try map.advise(.random)
    // One page is in memory and dirty.
    try map.store(UInt8(0xFE), at: 0)
    try outer.shutDown()
    withWatchdog("a failed device", seconds: 60) {
      let store = failure { try map.store(UInt8(0xFE), at: 40 * page + 5) }
      #expect(store?.code == .inputOutput && store?.offset == Int64(40 * page + 5) && store?.path == path)
      let copy = failure { try map.copy([UInt8](repeating: 0xFE, count: page), to: 50 * page + 5) }
      #expect(copy?.code == .inputOutput && copy?.offset == Int64(50 * page + 5))
      #expect(map.fault == nil)
      let scope = failure { try map.storeInScope(0xFE, at: 45 * page) }
      #expect(scope?.code == .inputOutput && scope?.offset == Int64(45 * page))
      #expect(map.lostRanges() == [45 * page..<46 * page])
      #expect(failure { try map.flush(.data) }?.code == .inputOutput)
      #expect(map.isPoisoned == false, "a lost page is no failed sync")
      #expect(failure { try map.recover() }?.code == .inputOutput)
    }
    let second = try MutableMappedFile(path)
    withWatchdog("a failed sync", seconds: 60) {
      let flush = failure { try second.flush(.data) }
      #expect(flush != nil && second.isPoisoned == true, "\(String(describing: flush))")
      #expect(failure { try second.flush(.queued) }?.code == .syncFailed)
    }
  }
}

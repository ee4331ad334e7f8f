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

/// Transactional and growable files on real file systems: that they work there, and what they do when there is no room.
@Suite(.serialized) struct StorageFileSystemTests {
  typealias Model = StorageModel.Scattered

  enum Place: String, CaseIterable, Sendable { case tmpfs, ext4, xfs, btrfs }

  /// A file system of its own; nil, with a note, where it cannot be made.
  static func disk(_ place: Place, tmpfs size: Int = 24 << 20) throws -> MountedImage? {
    guard let system = MountedImage.FileSystem(rawValue: place.rawValue) else { return try MountedImage(tmpfs: size) }
    guard Skips.require(Skips.hasProgram(system.program), place.rawValue, install: system.package) else { return nil }
    return try MountedImage(system)
  }

  @Test(.rootOnly("file systems in images"), arguments: Place.allCases)
  func `commits, growth, replay, appends and readers work on`(_ place: Place) throws {
    guard let disk = try Self.disk(place) else { return }
    let path = disk.appending("data")
    for round in 0..<3 {
      // Without a close: the next round replays.
      var file = try TransactionalFile(path, creating: .ifMissing(size: Int64(Model.firstSize)))
      #expect(file.recovery.replayedCommits == (round == 0 ? 0 : 5))
      for number in UInt64(round * 5 + 1)...UInt64(round * 5 + 5) {
        try TransactionalFailureTests.write(number, to: &file)
        try file.commit()
      }
      var reader = try TransactionalReader(path)
      let content = try reader.read { bytes, _ in bytes.withUnsafeBytes { Array($0) } }
      #expect(content == TransactionalFailureTests.states[round * 5 + 5])
    }
    var log = try GrowableMappedFile(disk.appending("log"), options: GrowableMappedFileTests.small)
    var reader = try GrowableMappedReader(disk.appending("log"))
    for number in 1...500 as ClosedRange<UInt64> {
      try log.append(StorageModel.Records.record(number).span.bytes)
      if number % 100 == 0 { try log.flush(.device) }
    }
    try reader.refresh()
    #expect(StorageModel.Records.count(try GrowableMappedFileTests.bytes(reader)) == 500)
    try log.close()
    #expect(
      StorageModel.Records.count(try GrowableMappedFileTests.bytes(GrowableMappedReader(disk.appending("log")))) == 500)
  }

  /// Holes, and on XFS blocks that are shared with a clone.
  @Test(.rootOnly("full file systems"), arguments: Place.allCases)
  func `on a full disk a commit throws or holds, nobody dies, and with space again all is well on`(_ place: Place)
    throws
  {
    guard let disk = try Self.disk(place, tmpfs: 4 << 20) else { return }
    let path = disk.appending("data")
    var file = try TransactionalFile(path, creating: .ifMissing(size: 1 << 20))
    var expected = [UInt8](repeating: 0, count: 1 << 20)
    // tmpfs needs a page to read a hole through a mapping: none there.
    let written = place == .tmpfs ? 1 << 20 : 1 << 19
    try file.withTransaction { $0.withUnsafeMutableBytes { bytes in for at in 0..<written { bytes[at] = 7 } } }
    for at in 0..<written { expected[at] = 7 }
    try file.checkpoint()
    if place == .xfs { try #require(pgt_clone_file(path.string, disk.appending("clone").string) == 0) }
    try disk.fillUp()
    var failures: [MappingError.Code: Int] = [:]
    var random = Random(seed: 4)
    for round in 0..<60 {
      // Places that are written, holes, and growth.
      let start = random.below(expected.count - 5000)
      let growth = round % 5 == 4 ? 10_000 : 0
      try file.begin()
      if growth > 0 { try file.resize(to: file.count + growth) }
      do {
        try file.withMutableBytes {
          $0.withUnsafeMutableBytes { bytes in
            for at in start..<start + 5000 { pgt_store(bytes.baseAddress! + at, UInt8(1 + round)) }
          }
        }
        try file.commit()
        expected += [UInt8](repeating: 0, count: growth)
        for at in start..<start + 5000 { expected[at] = UInt8(1 + round) }
      } catch let error as MappingError {
        failures[error.code, default: 0] += 1
        guard !file.isPoisoned else { break }
        #expect(error.code == .noSpace && error.path != nil)
        #expect(file.isInTransaction == true)
        // Commits that are safe and not in the file yet can keep a rollback from its end, too.
        do throws(MappingError) { try file.rollback() } catch {
          #expect(error.code == .noSpace)
          break
        }
      }
      #expect(try TransactionalFileTests.bytes(file) == expected)
      if file.applicationError != nil { break }
    }
    print(
      "a full \(place.rawValue): refused \(failures), poisoned \(file.isPoisoned), waiting \(file.applicationError != nil)"
    )
    // A failed sync leaves it open whether the last one holds; nothing else may.
    let isPoisoned = file.isPoisoned
    unlink(disk.appending("filler").string)
    _ = consume file
    let again = try TransactionalFile(path)
    let content = try TransactionalFileTests.bytes(again)
    if !isPoisoned { #expect(content == expected) }
    var open = again
    try open.withTransaction { $0.storeBytes(of: 99, as: UInt8.self) }
    try open.close()
    #expect(try TransactionalFileTests.content(path).first == 99)
  }

  @Test func `a limit on file sizes is an error for commits and appends, not a signal`() async {
    await #expect(processExitsWith: .success) {
      let folder = try TemporaryDirectory()
      var file = try TransactionalFile(folder.appending("data"), creating: .ifMissing(size: 100))
      var log = try GrowableMappedFile(folder.appending("log"), options: GrowableMappedFileTests.small)
      try log.append([UInt8](repeating: 1, count: 100).span.bytes)
      var limit = rlimit(rlim_cur: 300_000, rlim_max: 300_000)
      prove(setrlimit(__rlimit_resource_t(RLIMIT_FSIZE.rawValue), &limit) == 0)
      try file.begin()
      try file.resize(to: 400_000)
      do throws(MappingError) {
        try file.commit()
        exit(3)
      } catch { prove(error.code == .limitExceeded || error.code == .noSpace) }
      try file.rollback()
      try file.withTransaction { $0.storeBytes(of: 5, as: UInt8.self) }
      do throws(MappingError) {
        for _ in 0..<4_000 { try log.append([UInt8](repeating: 2, count: 100).span.bytes) }
        exit(4)
      } catch { prove(error.code == .limitExceeded) }
      // All that fits is used.
      prove(log.count > 290_000 && log.count % 100 == 0)
      try log.close()
      try file.close()
      prove(try GrowableMappedReader(folder.appending("log")).count > 290_000)
    }
  }
}

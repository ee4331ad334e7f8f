// SPDX-License-Identifier: Apache-2.0

import MemoryMapping
import SystemPackage
import Testing
import _CTestSupport
import _TestSupport

/// Space that is had beforehand, and space that is given back.
@Suite(.serialized) struct MutableReserveTests {
  let page = SystemPage.size
  static let pages = 100

  @Test(.rootOnly("file systems in images"), arguments: Disk.allCases)
  func `what is reserved can be stored while the rest of the disk is full`(disk kind: Disk) throws {
    guard let disk = try kind.make() else { return }
    let size = Self.pages * page
    var map = try MutableMappedFile(disk.appending("file"), creating: .exclusive(size: Int64(size + 5)))
    #expect(fileStatus(disk.appending("file")).allocated == 0)
    let expected: Reservation = kind == .btrfs ? .untilWriteBack : .held
    // A part first: not a byte outside of it.
    #expect(try map.reserve(10 * page + 1..<20 * page - 1) == expected)
    #expect((10 * page...20 * page).contains(fileStatus(disk.appending("file")).allocated), "blocks of the part")
    #expect(try map.reserve() == expected)
    let status = fileStatus(disk.appending("file"))
    #expect(status.size == size + 5 && status.allocated >= size)
    #expect(try map.content().allSatisfy { $0 == 0 })
    #expect(try map.reserve(7..<7) == .held)
    try disk.fillUp()
    let error = failure {
      try map.withMutableBytes { (span: inout MutableRawSpan) -> Void in
        span.withUnsafeMutableBytes { for at in 0..<$0.count { pgt_store($0.baseAddress! + at, UInt8(1 + at % 251)) } }
      }
    }
    // A file system that is full writes all back at once, and with it ends the weaker promise.
    if expected == .untilWriteBack, error?.code == .noSpace {
      #expect(map.lostRanges().isEmpty == false)
      return
    }
    #expect(error == nil)
    try map.flush(.data)
    #expect(try fileContent(disk.appending("file")) == PatternFile.bytes(0..<Int64(size + 5)))
    guard expected == .held else { return }
    // Again, now that it has been written back.
    try map.copy(PatternFile.bytes(0..<Int64(size + 5)).reversed(), to: 0)
    try map.flush(.device)
    #expect(try fileContent(disk.appending("file")) == PatternFile.bytes(0..<Int64(size + 5)).reversed())
  }

  @Test(.rootOnly("a clone on XFS"))
  func `blocks that are shared with a clone are reserved until they are written back`() throws {
    guard let disk = try Disk.xfs.make() else { return }
    let original = try PatternFile(disk.appending("original"), size: Int64(Self.pages * page))
    let path = disk.appending("clone")
    let clone = try FileDescriptor.open(path, .readWrite, options: [.create], permissions: .ownerReadWrite)
    try clone.closeAfter { #expect(pgt_clone(clone.rawValue, original.descriptor.rawValue) == 0) }
    let map = try MutableMappedFile(path)
    #expect(try map.reserve() == .untilWriteBack)
    let own = try MutableMappedFile(disk.appending("own"), creating: .exclusive(size: 4096))
    #expect(try own.reserve() == .held)
  }

  @Test(.rootOnly("full file systems"), arguments: Disk.allCases)
  func `on a full disk a reservation is the error, nothing is lost, and what was had can be given back`(
    disk kind: Disk
  ) throws {
    guard let disk = try kind.make() else { return }
    let path = disk.appending("file")
    let content = PatternFile.bytes(0..<Int64(page))
    _ = try PatternFile(path, size: Int64(Self.pages * page), windows: [0..<Int64(page)])
    try disk.fillUp()
    var map = try MutableMappedFile(path)
    let error = failure { try map.reserve() }
    #expect(
      error?.code == .noSpace && error?.operation == .reserveSpace && error?.path == path,
      "\(String(describing: error))")
    #expect(map.fault == nil && fileStatus(path).size == Self.pages * page)
    #expect(try fileContent(path) == content + [UInt8](repeating: 0, count: (Self.pages - 1) * page))
    try map.punchHole(page..<Self.pages * page)
    #expect(fileStatus(path).allocated <= 2 * page)
    #expect(try Child.succeeds("rm", disk.appending("filler").string))
    withWatchdog("space after a removal", seconds: 60) {
      while failure({ try map.reserve() }) != nil { pgt_sleep_us(10_000) }
    }
  }

  @Test(.rootOnly("file systems in images"), arguments: Disk.allCases)
  func `a hole reads as zeros for everybody, frees the blocks and leaves the size`(disk kind: Disk) throws {
    guard let disk = try kind.make() else { return }
    let path = disk.appending("file")
    let size = Self.pages * page
    let file = try PatternFile(path, size: Int64(size))
    #expect(pgt_drop_caches(file.descriptor.rawValue) == 0)
    var map = try MutableMappedFile(path, offset: 5)
    let other = try MappedFile(path)
    let before = fileStatus(path).allocated
    var expected = PatternFile.bytes(0..<Int64(size))
    for bounds in [10 * page + 3..<60 * page + 1, 0..<1, size - 10..<size - 5, 7..<7] {
      try map.punchHole(bounds)
      for at in bounds { expected[at + 5] = 0 }
      #expect(try fileContent(path) == expected)
    }
    try map.flush(.data)
    #expect(fileStatus(path).size == size)
    // A hole in the middle of a written run may cost its file system a block.
    #expect(fileStatus(path).allocated <= before - 48 * page)
    #expect(try other.content() == expected)
    #expect(try map.content() == Array(expected[5...]))
    try map.store(UInt8(9), at: 20 * page)
    #expect(try other.load(at: 20 * page + 5, as: UInt8.self) == 9)
  }
}

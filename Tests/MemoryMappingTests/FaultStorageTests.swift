// SPDX-License-Identifier: Apache-2.0

import CPlatform
import MemoryMapping
import SystemPackage
import Testing
import _CTestSupport
import _TestSupport

/// Pages that cannot be had although the file reaches over them: no space, and a failed device.
@Suite(.serialized) struct FaultStorageTests {
  let page = SystemPage.size

  /// Reads the first byte of each page in a guarded scope.
  private func sweep(_ map: borrowing MappedFile, _ bounds: Range<Int>? = nil) throws(MappingError) -> [UInt8] {
    try map.withBytes(bounds) { (span: RawSpan) -> [UInt8] in
      stride(from: 0, to: span.byteCount, by: page).map { at in
        span.withUnsafeBytes { pgt_touch($0.baseAddress! + at) }
      }
    }
  }

  /// A hole in a file, with a page of content in front of it.
  private func fileWithHole(_ path: FilePath, pages: Int) throws -> PatternFile {
    try PatternFile(path, size: Int64(pages * page), windows: [0..<Int64(page)])
  }

  @Test(.rootOnly("a hole on a full tmpfs"))
  func `reading a hole of a full tmpfs is an error that says no space`() throws {
    let disk = try MountedImage(tmpfs: 1 << 20)
    let file = try fileWithHole(disk.appending("hole"), pages: 16)
    try disk.fillUp()
    var options = MappedFile.Options()
    options.fillByte = 0xFF
    var map = try MappedFile(file.path, options: options)
    // What is there can be read.
    #expect(try sweep(map, 0..<page) == PatternFile.bytes(0..<1))
    // A checked copy reads through the file, where a hole is zeros: the truth, and no page is needed.
    var bytes = [UInt8](repeating: 1, count: 3 * page)
    try bytes.withUnsafeMutableBytes { try map.copy(page..<4 * page, into: $0) }
    #expect(bytes.allSatisfy { $0 == 0 })
    #expect(map.fault == nil)
    #expect(throws: MappingError.self) { try map.probe() }

    var caught: MappingError? = nil
    do throws(MappingError) { _ = try sweep(map) } catch { caught = error }
    let error = try #require(caught)
    #expect(error.code == .noSpace && error.offset == Int64(page) && error.path == file.path, "\(error)")
    let found = map.fault
    let fault = try #require(found)
    // Page by page: the file still reaches over them.
    #expect(fault.kind == .noSpace && fault.count == 15 && !fault.includesStore, "\(fault)")
    #expect(fault.lostRange == page..<16 * page)
    // Without space there is no way back; the mapping stays faulted.
    #expect { try map.recover() } throws: { ($0 as? MappingError)?.operation == .recover }
    #expect(map.fault != nil)

    #expect(try Child.succeeds("rm", disk.appending("filler").string))
    // A child that another test forks at this moment has the removed file open until it ends.
    withWatchdog("space after a removal", seconds: 60) {
      while map.fault != nil { if (try? map.recover()) == nil { pgt_sleep_us(10_000) } }
    }
    #expect(try sweep(map) == PatternFile.bytes(0..<1) + [UInt8](repeating: 0, count: 15))
  }

  @Test(.rootOnly("a store into a hole of a full file system"), arguments: ["tmpfs", "ext4"])
  func `a store into a hole of a full file system is a recorded fault`(system: String) throws {
    if system == "ext4",
      !Skips.require(Skips.hasProgram("mkfs.ext4"), "ext4", install: MountedImage.FileSystem.ext4.package)
    {
      return
    }
    let disk = try system == "tmpfs" ? MountedImage(tmpfs: 1 << 20) : MountedImage(.ext4)
    let file = try fileWithHole(disk.appending("hole"), pages: 16)
    try disk.fillUp()
    let base = try #require(pgt_map_file(file.descriptor.rawValue, 16 * page, 0, true))
    defer { _ = pgt_unmap(base, 16 * page) }
    let range = try FaultGuard.adopt(
      .init(start: base, count: 16 * page), descriptor: file.descriptor, writable: true, fillByte: 0)
    pgt_store(base, 0x41)
    #expect(range.isLost == false, "a store into an allocated page needs no space")
    for number in [3, 4, 9] { pgt_store(base + number * page + 7, 0x42) }
    #expect(range.isLost && range.faultCount == 3)
    #expect(range.lostRange == 3 * page..<10 * page)
    // The store runs on in the replacement, and the file has nothing of it.
    #expect(pgt_touch(base + 9 * page + 7) == 0x42)
    #expect(try PatternFile.read(file.path, Int64(9 * page)..<Int64(9 * page + 8)).allSatisfy { $0 == 0 })
  }

  /// A file of 64 pages on an ext4 whose image lies on an ext4 that was shut down: reading it fails from now on.
  private func withFailedDevice(
    _ body: (_ file: FilePath, _ map: inout MappedFile) throws -> Void
  ) throws {
    guard Skips.require(Skips.hasProgram("mkfs.ext4"), "EIO", install: MountedImage.FileSystem.ext4.package) else {
      return
    }
    let outer = try MountedImage(.ext4, size: 64 << 20)
    let inner = try MountedImage(.ext4, in: outer.path)
    let file = try PatternFile(inner.appending("file"), size: Int64(64 * page))
    #expect(pgt_drop_caches(file.descriptor.rawValue) == 0)
    try inner.forgetImage()
    var map = try MappedFile(file.path)
    try outer.shutDown()
    try withWatchdog("reading from a failed device", seconds: 60) { try body(file.path, &map) }
  }

  @Test(.rootOnly("EIO by a file system in a shut-down file system"))
  func `a page that the device cannot deliver is an error that says so, at each level`() throws {
    try withFailedDevice { path, map in
      // Signal-free levels first: nothing is replaced.
      var bytes = [UInt8](repeating: 0, count: 64)
      for check in [FaultCheck.pages, .size, .stamp] {
        #expect {
          try bytes.withUnsafeMutableBytes { try map.copy(8 * page + 1..<8 * page + 65, into: $0, check: check) }
        } throws: { ($0 as? MappingError)?.code == .inputOutput && ($0 as? MappingError)?.errno == .ioError }
      }
      #expect { _ = try map.load(at: 9 * page, as: UInt32.self) } throws: {
        ($0 as? MappingError)?.code == .inputOutput
      }
      #expect { try map.probe(10 * page..<11 * page) } throws: { ($0 as? MappingError)?.code == .inputOutput }
      #expect { try map.prefault(10 * page..<11 * page) } throws: { ($0 as? MappingError)?.code == .inputOutput }
      #expect(map.fault == nil)

      for check in [FaultCheck.pages, .size, .stamp] {
        #expect {
          _ = try map.withBytes(3 * page..<6 * page, check: check) { (span: RawSpan) -> Int in
            stride(from: 0, to: 3 * page, by: page).reduce(0) { sum, at in
              sum + Int(span.withUnsafeBytes { pgt_touch($0.baseAddress! + at) })
            }
          }
        } throws: {
          ($0 as? MappingError)?.code == .inputOutput && ($0 as? MappingError)?.offset == Int64(3 * page)
            && ($0 as? MappingError)?.path == path
        }
      }
      let found = map.fault
      let fault = try #require(found)
      #expect(fault.kind == .inputOutput && fault.offset == Int64(3 * page) && fault.count == 3, "\(fault)")
      #expect(fault.lostRange == 3 * page..<6 * page)
      var lines = map.lines()
      #expect { while try lines.next() != nil {} } throws: { ($0 as? MappingError)?.code == .inputOutput }
      // The device does not come back.
      #expect { try map.recover() } throws: {
        ($0 as? MappingError)?.code == .inputOutput && ($0 as? MappingError)?.operation == .recover
      }
      #expect(map.fault?.kind == .inputOutput)
    }
  }

  @Test(.rootOnly("EIO without a descriptor"))
  func `without a descriptor the loss is known and the reason is not`() throws {
    try withFailedDevice { path, _ in
      var options = MappedFile.Options()
      options.keepsDescriptor = false
      let map = try MappedFile(path, options: options)
      #expect { _ = try sweep(map) } throws: { ($0 as? MappingError)?.code == .faulted }
      #expect(map.fault?.kind == .unknown && map.fault?.count == 64)
    }
  }
}

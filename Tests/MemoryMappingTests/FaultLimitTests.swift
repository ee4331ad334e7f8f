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

/// Faults under the limits that operators set, and what a loss leaves behind for every call.
@Suite struct FaultLimitTests {
  static let page = SystemPage.size

  /// Touches the last byte of the view.
  static func touchEnd(_ map: borrowing MappedFile) -> MappingError? {
    do throws(MappingError) {
      try map.withBytes { (span: RawSpan) -> Void in
        _ = span.withUnsafeBytes { pgt_touch($0.baseAddress! + $0.count - 1) }
      }
      return nil
    } catch { return error }
  }

  @Test func `a lost tail that would need too many pieces of fill reads as zeros, and nobody dies`() throws {
    let folder = try TemporaryDirectory()
    let size: Int64 = 200 << 30
    let file = try PatternFile(folder.appending("huge"), size: size, windows: [])
    var options = MappedFile.Options()
    options.fillByte = 0xFF
    let map = try MappedFile(file.path, options: options)
    try file.resize(0)
    #expect(Self.touchEnd(map)?.code == .truncated)
    #expect(map.fault?.count == 1)
  }

  @Test func `a limit on file sizes is an error where the library makes a file, not a signal`() async {
    await #expect(processExitsWith: .success) {
      let folder = try TemporaryDirectory()
      let file = try PatternFile(folder.appending("file"), size: Int64(3 * SystemPage.size))
      var limit = rlimit(rlim_cur: 1000, rlim_max: 1000)
      prove(setrlimit(__rlimit_resource_t(RLIMIT_FSIZE.rawValue), &limit) == 0)
      var options = MappedFile.Options()
      options.fillByte = 0xFE
      prove((try? MappedFile(file.path, options: options)) == nil)
      options = MappedFile.Options()
      options.stability = .snapshot
      prove((try? MappedFile(file.path, options: options)) == nil)
      prove((try? MemoryFile(name: "large", byteCount: 5000)) == nil)
      let small = try MemoryFile(name: "small", byteCount: 900)
      do throws(MappingError) {
        try small.resize(to: 2000)
        exit(3)
      } catch { prove(error.code == .limitExceeded) }
      try small.resize(to: 10)
      _ = try? Calibration.measured()
      // Reading needs none of it.
      let map = try MappedFile(file.path)
      prove(try map.content() == PatternFile.bytes(0..<Int64(3 * SystemPage.size)))
    }
  }

  @Test(.rootOnly("holes on a full tmpfs"))
  func `many threads that lose pages together at the mapping limit all survive`() async {
    await #expect(processExitsWith: .success) {
      let page = SystemPage.size
      let disk = try MountedImage(tmpfs: 1 << 20)
      let file = try PatternFile(disk.appending("hole"), size: Int64(400 * page), windows: [])
      try disk.fillUp()
      let maps = try (0..<16).map { _ in try Boxed(MappedFile(file.path)) }
      let ranges = maps.map { map in map.value.bytes.withUnsafeBytes { UnsafeRawPointer($0.baseAddress!) } }
      // At the limit an allocation of Swift's can fail too: the threads are started before, and run nothing but C.
      prove(pgt_touch_at_mapping_limit(ranges.map { $0 }, CInt(maps.count), 400, 40) == 0)
      for map in maps {
        prove(map.value.fault?.kind == .noSpace)
        do throws(MappingError) {
          try map.value.withBytes { (span: RawSpan) -> Void in }
          exit(3)
        } catch { prove(error.code == .noSpace) }
      }
    }
  }

  @Test(.rootOnly("locked memory of another user"))
  func `where all memory is locked the replacement takes the place of the lost pages`() async {
    await #expect(processExitsWith: .success) {
      let folder = try TemporaryDirectory()
      let size = 6 << 20
      let file = try PatternFile(folder.appending("file"), size: Int64(size))
      prove(chmod(folder.path.string, 0o755) == 0 && chmod(file.path.string, 0o666) == 0)
      // Room for the file once, not twice.
      prove(pgt_limit_memlock(8 << 20) == 0 && pgt_set_user(65_534) == 0)
      prove(mlockall(CInt(MCL_FUTURE)) == 0)
      let map = try MappedFile(file.path)
      try file.resize(0)
      prove(FaultLimitTests.touchEnd(map)?.code == .truncated)
    }
  }

  @Test func `each of two guards over the same pages learns of a loss`() throws {
    let folder = try TemporaryDirectory()
    let file = try PatternFile(folder.appending("file"), size: Int64(4 * Self.page))
    let map = try MappedFile(file.path)
    let bytes = map.bytes.withUnsafeBytes { UnsafeRawBufferPointer(start: $0.baseAddress!, count: $0.count) }
    let first = try FaultGuard.adopt(bytes, descriptor: file.descriptor)
    let part = try FaultGuard.adopt(.init(rebasing: bytes[(2 * Self.page)...]), fileOffset: Int64(2 * Self.page))
    try file.resize(Int64(Self.page))
    #expect(Self.touchEnd(map)?.offset == Int64(Self.page))
    #expect(first.isLost && first.lostRange == Self.page..<4 * Self.page)
    #expect(part.isLost && part.lostRange == 0..<2 * Self.page)
    #expect(map.fault?.lostRange == Self.page..<4 * Self.page)
  }

  @Test func `a faulted mapping is not proved by loading its replaced pages`() throws {
    let folder = try TemporaryDirectory()
    let file = try PatternFile(folder.appending("file"), size: Int64(4 * Self.page))
    var map = try MappedFile(file.path)
    try file.resize(0)
    #expect(Self.touchEnd(map) != nil)
    try file.fill(size: Int64(4 * Self.page))
    #expect(throws: MappingError.self) { try map.probe() }
    #expect(throws: MappingError.self) { try map.prefault() }
    try map.recover()
    try map.probe()
    try map.prefault()
  }

  @Test func `without a descriptor a copy with a zero byte is refused, as it cannot be proved`() throws {
    let folder = try TemporaryDirectory()
    let path = try folder.file("file", Array("hello, world".utf8))
    var options = MappedFile.Options()
    options.keepsDescriptor = false
    let map = try MappedFile(path, options: options)
    var bytes = [UInt8](repeating: 9, count: 12)
    try bytes.withUnsafeMutableBytes { try map.copy(0..<12, into: $0) }
    #expect(try map.load(at: 0, as: UInt32.self) != 0)
    #expect(try Child.succeeds("truncate", "-s", "3", path.string))
    #expect { try bytes.withUnsafeMutableBytes { try map.copy(0..<12, into: $0) } } throws: {
      ($0 as? MappingError)?.code == .notSupported
    }
    #expect { _ = try map.load(at: 4, as: UInt32.self) } throws: { ($0 as? MappingError)?.code == .notSupported }
    #expect(try map.load(at: 4, as: UInt32.self, check: .pages) == 0)
  }

  @Test func `a stamp covers the whole pass in chunks`() throws {
    let folder = try TemporaryDirectory()
    let file = try PatternFile(folder.appending("file"), size: 1 << 20)
    var options = FileBytes.Options()
    options.strategy = .map
    options.check = .stamp
    var bytes = try FileBytes(file.path, options: options)
    try bytes.forEachChunk(of: 1 << 18) { _, _ in }
    pgt_sleep_us(20_000)
    #expect {
      try bytes.forEachChunk(of: 1 << 18) { _, offset in
        if offset == 0 { _ = try file.descriptor.writeAll(toAbsoluteOffset: 7, [1]) }
      }
    } throws: { ($0 as? MappingError)?.code == .changed }
  }

  @Test func `any two numbers are a range that is refused, not trapped on`() throws {
    var space = try AddressReservation(byteCount: 16 * Self.page)
    for bounds in [Int.min..<Int.max, Int.min..<0, 0..<Int.max, -1..<1] {
      #expect(throws: MappingError.self) { try space.commit(bounds) }
      #expect(throws: MappingError.self) { try space.decommit(bounds) }
      #expect(throws: MappingError.self) { try space.withBytes(bounds) { $0.byteCount } }
      #expect(throws: MappingError.self) { try space.withMutableBytes(bounds) { _ in } }
    }
    var stream = try FileBytes("/proc/self/status")
    #expect(throws: MappingError.self) { try stream.withBytes(Int64.min..<Int64.max) { $0.byteCount } }
    let folder = try TemporaryDirectory()
    let windows = try WindowedFile(folder.file("file", [1, 2, 3]))
    for start in [Int64.min, -1, 4, .max] {
      #expect(throws: MappingError.self) { try windows.forEachWindow(from: start) { _, _ in } }
    }
    try windows.forEachWindow(from: 3) { _, _ in Issue.record("there is nothing") }
  }

  @Test func `a reservation shows only the bytes that its file has, and finds a cut inside a page`() throws {
    let folder = try TemporaryDirectory()
    let file = try PatternFile(folder.appending("file"), size: 18)
    var space = try AddressReservation(byteCount: 16 * Self.page)
    try space.map(file.descriptor, at: 0, length: 18)
    #expect(try space.withBytes(0..<18, check: .size) { $0.byteCount } == 18)
    #expect(throws: MappingError.self) { try space.withBytes(0..<19) { $0.byteCount } }
    try file.resize(10)
    #expect(try space.withBytes(0..<10, check: .size) { $0.byteCount } == 10)
    #expect { try space.withBytes(0..<18, check: .size) { $0.byteCount } } throws: {
      ($0 as? MappingError)?.code == .truncated && ($0 as? MappingError)?.offset == 10
    }
  }
}

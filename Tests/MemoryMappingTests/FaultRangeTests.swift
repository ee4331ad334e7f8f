// SPDX-License-Identifier: Apache-2.0

import CPlatform
import MemoryMapping
import SystemPackage
import Testing
import _CTestSupport
import _TestSupport

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#endif

/// Ranges of others, fill bytes, the limits of table and kernel, forked children.
@Suite struct FaultRangeTests {
  let page = SystemPage.size

  @Test(arguments: [UInt8(0), 0xFF, 0x7E])
  func `an adopted range shows its fill byte for the whole tail after one fault`(fill: UInt8) throws {
    let file = try CutMapping(pages: 8, kept: 3)
    var range = try FaultGuard.adopt(file.bytes, descriptor: file.descriptor, fillByte: fill)
    #expect(!range.isLost && range.faultCount == 0 && range.lostRange == nil)
    #expect(pgt_pattern_mismatch(file.base, 3 * page, 0) == -1)
    #expect(range.isLost == false, "reading what is there loses nothing")
    #expect(file.bytes[(3 * page)...].allSatisfy { $0 == fill })
    let faults = range.faultCount
    #expect(range.isLost && faults == 1 && range.lostRange == 3 * page..<8 * page)
    // Its owner maps the file again and begins anew.
    try file.descriptor.resize(to: Int64(8 * page))
    #expect(pgt_remap_file(file.base, 8 * page, file.descriptor.rawValue, 0) == 0)
    range.reset()
    #expect(!range.isLost && file.touch(5 * page) == 0)
    try file.cut(toPages: 0)
    #expect(file.touch(0) == fill && range.faultCount == 1 && range.lostRange == 0..<8 * page)
    range.close()
    // Closed: the range is still mapped and its replaced pages are there.
    #expect(file.touch(7 * page) == fill)
  }

  @Test func `a fill of more than a piece of the fill file, and a second guard with the same byte`() throws {
    let pages = (5 << 20) / page + 1
    let file = try CutMapping(pages: pages, kept: 1)
    let range = try FaultGuard.adopt(file.bytes, descriptor: file.descriptor, fillByte: 0xFF)
    #expect(file.touch(page) == 0xFF)
    for offset in stride(from: page, to: pages * page, by: 509) { #expect(file.touch(offset) == 0xFF) }
    #expect(range.faultCount == 1)
  }

  @Test func `without a descriptor each lost page is a fault of its own`() throws {
    let file = try CutMapping(pages: 6, kept: 1)
    let range = try FaultGuard.adopt(file.bytes, fillByte: 0xFF)
    for number in [5, 2, 3] { #expect(file.touch(number * page + 100) == 0xFF) }
    #expect(range.faultCount == 3 && range.lostRange == 2 * page..<6 * page)
  }

  @Test func `a range in the middle of a file takes its offset into account`() throws {
    let file = try CutMapping(pages: 8, kept: 6)
    let part = UnsafeRawBufferPointer(rebasing: file.bytes[(4 * page)...])
    let range = try FaultGuard.adopt(part, descriptor: file.descriptor, fileOffset: Int64(4 * page), fillByte: 0xFF)
    #expect(file.touch(6 * page) == 0xFF)
    #expect(range.lostRange == 2 * page..<4 * page)
    #expect(pgt_pattern_mismatch(file.base + 4 * page, 2 * page, UInt64(4 * page)) == -1)
  }

  @Test func `what cannot be adopted is an error`() throws {
    let file = try CutMapping(pages: 2, kept: 2)
    let bytes = file.bytes
    for bad in [
      UnsafeRawBufferPointer(start: nil, count: 0), .init(start: bytes.baseAddress, count: 0),
      .init(start: bytes.baseAddress! + 1, count: page),
    ] {
      #expect { _ = try FaultGuard.adopt(bad) } throws: { ($0 as? MappingError)?.code == .invalidRange }
    }
    #expect(throws: MappingError.self) { _ = try FaultGuard.adopt(bytes, fileOffset: -1) }
  }

  @Test func `a mapping's fill byte stands in the scope that throws, and 0xFF is no length of 0`() throws {
    for fill in [UInt8(0), 0xFF, 0x20] {
      var options = MappedFile.Options()
      options.fillByte = fill
      let file = try MemoryFile(name: "fill", byteCount: 4 * page)
      let map = try file.map(options: options)
      try file.resize(to: 2 * page)
      var seen: Set<UInt8> = []
      #expect(throws: MappingError.self) {
        try map.withBytes(2 * page..<4 * page) { (span: RawSpan) -> Void in
          span.withUnsafeBytes { seen = Set($0) }
        }
      }
      #expect(seen == [fill])
    }
  }

  @Test func `a full table is a clear error, and the next range fits again`() async {
    await #expect(processExitsWith: .success) {
      let page = SystemPage.size
      let file = try CutMapping(pages: 2, kept: 1)
      var slots: [UnsafeMutablePointer<pgw_slot>] = []
      var failure: CInt = 0
      while let slot = pgw_guard_add(file.base + page, page, page, -1, 0, 1, 0x31, &failure) { slots.append(slot) }
      prove(failure == ENOBUFS && slots.count == Int(PGW_GUARD_CAPACITY))
      prove(FaultGuard.status.rangeCount == slots.count)
      // The full table still answers, and the last of the ranges no worse than the first.
      prove(file.touch(page) == 0x31)
      let memory = try MemoryFile(name: "no room", byteCount: 10)
      do throws(MappingError) {
        _ = try memory.map()
        prove(false)
      } catch {
        prove(error.code == .mappingLimitReached && error.operation == .guardInstall)
        prove(error.description.contains("too many mappings"))
      }
      let mapsNow = ProcessView.text("/proc/self/maps").contains("no room")
      prove(!mapsNow)
      pgw_guard_remove(slots.removeLast())
      let map = try memory.map()
      prove(map.count == 10)
      // Emptied in another order and filled again: no slot is lost, none is given twice.
      for slot in slots.reversed() { pgw_guard_remove(slot) }
      prove(FaultGuard.status.rangeCount == 1)
      var again: Set<UnsafeMutablePointer<pgw_slot>> = []
      while let slot = pgw_guard_add(file.base, page, page, -1, 0, 1, 0, &failure) { again.insert(slot) }
      prove(again.count == Int(PGW_GUARD_CAPACITY) - 1)
    }
  }

  @Test func `a range that the kernel will split no more is replaced as a whole`() async {
    await #expect(processExitsWith: .success) {
      let page = SystemPage.size
      let limit = Int(ProcessView.text("/proc/sys/vm/max_map_count").split(separator: "\n")[0])!
      // A limit that was raised far is not reached by a test.
      guard limit <= 1 << 18 else {
        Skips.note("splitting up to vm.max_map_count", install: "sysctl vm.max_map_count=65530")
        return
      }
      let pages = limit + limit / 2
      let file = try CutMapping(pages: pages, kept: 0)
      // Without a descriptor each page is replaced alone; every second one splits the rest.
      let range = try FaultGuard.adopt(file.bytes, fillByte: 0)
      var touched = 0
      for number in stride(from: 0, to: pages, by: 2) {
        prove(file.touch(number * page) == 0)
        touched += 1
        if range.lostRange?.upperBound == file.byteCount { break }
      }
      print("max_map_count \(limit): \(range.faultCount) faults before the range was replaced as a whole")
      prove(range.faultCount == touched && touched > limit / 4 && touched < pages / 2)
      prove(range.lostRange == 0..<file.byteCount)
      // And no fault any more, here or there.
      for number in stride(from: 1, to: pages, by: 97) { prove(file.touch(number * page) == 0) }
      prove(range.faultCount == touched)
    }
  }

  @Test func `no mapping left is told from no address space left`() async {
    await #expect(processExitsWith: .success) {
      let page = SystemPage.size
      let limit = Int(ProcessView.text("/proc/sys/vm/max_map_count").split(separator: "\n")[0])!
      guard limit <= 1 << 18 else {
        Skips.note("reaching vm.max_map_count", install: "sysctl vm.max_map_count=65530")
        return
      }
      let file = try MemoryFile(name: "one more", byteCount: page)
      // Room for what the error itself needs: the allocator must not have to map.
      _ = [UInt8](repeating: 0, count: 1 << 16)
      let room = pgt_map_anonymous((limit + 16) * page)!
      var failed = false
      for number in stride(from: 1, to: limit + 16, by: 2) {
        if pgw_protect(room + number * page, page, 1) != 0 {
          failed = true
          break
        }
      }
      prove(failed)
      // A split stops one earlier than a new mapping.
      var extra = 0
      while extra < 64, pgt_map_file(file.descriptor.rawValue, page, 0, false) != nil { extra += 1 }
      prove(extra < 64)
      var code: MappingError.Code? = nil
      do throws(MappingError) { _ = try file.map() } catch { code = error.code }
      _ = pgt_unmap(room, (limit + 16) * page)
      print("at the limit of mappings: \(code.map { "\($0)" } ?? "mapped")")
      prove(code == .mappingLimitReached)
      _ = try file.map()
    }
    await #expect(processExitsWith: .success) {
      let file = try MemoryFile(name: "large", byteCount: 1 << 36)
      prove(pgt_limit_address_space(1 << 34) == 0)
      do throws(MappingError) {
        _ = try file.map()
        prove(false)
      } catch {
        prove(error.code == .addressSpaceExhausted)
      }
    }
  }
}

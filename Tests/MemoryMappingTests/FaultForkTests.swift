// SPDX-License-Identifier: Apache-2.0

import CPlatform
import MemoryMapping
import Synchronization
import SystemPackage
import Testing
import _CTestSupport
import _TestSupport

/// Forked children inherit the handler and the table, each with its own copy.
@Suite struct FaultForkTests {
  let page = SystemPage.size

  @Test func `a forked child survives its faults and the parent's mapping stays healthy`() throws {
    let file = try CutMapping(pages: 8, kept: 8)
    _ = try file.descriptor.writeAll(toAbsoluteOffset: 0, PatternFile.bytes(0..<Int64(8 * page)))
    var failure: CInt = 0
    let slot = try #require(pgw_guard_add(file.base, 8 * page, page, file.descriptor.rawValue, 0, 1, 0x7E, &failure))
    defer { pgw_guard_remove(slot) }
    let state = UnsafeRawPointer(slot).assumingMemoryBound(to: UInt32.self)
    try file.cut(toPages: 5)
    for _ in 0..<3 {
      let child = pgt_fork_touch(file.base, 5 * page, 8 * page, 0x7E, state)
      #expect(pgt_wait(child, 20_000) == 0)
      #expect(pgw_guard_state(slot) == 0 && slot.pointee.fault_count == 0, "the child's fault is the child's")
    }
    // The parent's own fault afterwards, and a child born with it: pages and mark are inherited.
    #expect(file.touch(6 * page) == 0x7E && slot.pointee.fault_count == 1)
    #expect(pgt_wait(pgt_fork_touch(file.base, 5 * page, 8 * page, 0x7E, nil), 20_000) == 0)
    #expect(slot.pointee.fault_count == 1)
  }

  @Test func `a child reads a mapping of its parent that is cut after the fork`() throws {
    let folder = try TemporaryDirectory()
    let file = try PatternFile(folder.appending("file"), size: Int64(4 * page))
    var options = MappedFile.Options()
    options.fillByte = 0xFF
    let map = try MappedFile(file.path, options: options)
    let base = map.bytes.withUnsafeBytes { $0.baseAddress! }
    try file.resize(Int64(page))
    #expect(pgt_wait(pgt_fork_touch(base, page, 4 * page, 0xFF, nil), 20_000) == 0)
    #expect(map.fault == nil)
    try file.fill(size: Int64(4 * page))
    #expect(try map.withBytes { $0.withUnsafeBytes { pgt_pattern_mismatch($0.baseAddress!, 4 * page, 0) } } == -1)
  }

  @Test func `a pin that another thread held at the fork does not stop the child from unmapping`() throws {
    let file = try CutMapping(pages: 2, kept: 1)
    var failure: CInt = 0
    let slot = try #require(pgw_guard_add(file.base, 2 * page, page, file.descriptor.rawValue, 0, 1, 0, &failure))
    defer { pgw_guard_remove(slot) }
    let pins = UnsafeMutableRawPointer(slot).assumingMemoryBound(to: UInt32.self) + 1
    // As if a handler were at work in this slot just now; where it is caught by chance differs from run to run.
    pins.pointee += 1
    let child = pgt_fork(
      { slot in
        pgw_guard_remove(slot!.assumingMemoryBound(to: pgw_slot.self))
        return 7
      }, slot)
    pins.pointee -= 1
    #expect(pgt_wait(child, 20_000) == 7, "the child waits for a thread that it does not have")
  }

  @Test func `children forked while other threads are in the handler can fault and unmap`() throws {
    let isDone = Atomic<Bool>(false)
    let faults = Atomic<Int>(0)
    onThreads(3) { number in
      if number > 0 {
        // Faults all the time, each in a range of its own.
        while !isDone.load(ordering: .relaxed) {
          guard let file = try? CutMapping(pages: 2, kept: 1),
            let range = try? FaultGuard.adopt(file.bytes, descriptor: file.descriptor)
          else { return check(false, "cannot adopt") }
          _ = file.touch(page)
          faults.add(range.faultCount, ordering: .relaxed)
        }
        return
      }
      for round in 0..<60 {
        guard let file = try? CutMapping(pages: 3, kept: 1),
          let range = try? FaultGuard.adopt(file.bytes, descriptor: file.descriptor, fillByte: 0x7E)
        else { return check(false, "cannot adopt") }
        let status = pgt_wait(pgt_fork_touch(file.base, page, 3 * page, 0x7E, nil), 20_000)
        check(status == 0, "child \(round) ended with \(status)")
        check(!range.isLost, "the parent's range is lost")
      }
      isDone.store(true, ordering: .relaxed)
    }
    #expect(faults.load(ordering: .relaxed) > 0)
  }

  @Test func `the fork option leaves a hole in the child`() throws {
    let folder = try TemporaryDirectory()
    let file = try PatternFile(folder.appending("file"), size: Int64(page))
    var options = MappedFile.Options()
    options.fork = .omit
    let map = try MappedFile(file.path, options: options)
    let base = map.bytes.withUnsafeBytes { $0.baseAddress! }
    // 256 + SIGSEGV: nothing is mapped there.
    #expect(pgt_wait(pgt_fork_touch(base, page, page, 0, nil), 20_000) == 256 + 11)
    let plain = try MappedFile(file.path)
    let other = plain.bytes.withUnsafeBytes { $0.baseAddress! }
    #expect(pgt_wait(pgt_fork_touch(other, page, page, 0, nil), 20_000) == 0)
  }
}

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

/// The routines under `copy` and `load`, at every position of the lost page.
@Suite struct FaultCopyTests {
  /// A routine, and by how many bytes it may stop short of the lost page. The portable one copies up to page edges; the
  /// assembly in steps of 32 bytes, and its string move byte by byte.
  enum Routine: String, CaseIterable {
    case checked, portable, proving

    func callAsFunction(_ target: UnsafeMutableRawPointer, _ source: UnsafeRawPointer, _ count: Int) -> Int {
      switch self {
      case .checked: pgw_copy_checked(target, source, count)
      case .portable: pgw_copy_portable(target, source, count)
      case .proving: pgw_copy_proving(target, source, count).missing
      }
    }

    func shortfall(_ count: Int) -> Int {
      switch self {
      case .portable: 0
      case .checked: count >= 2048 ? 0 : 31
      case .proving: count >= 256 ? 63 : 31
      }
    }
  }

  static let margin = 64

  /// Copies `count` bytes that begin `before` bytes in front of the lost page; tells what is wrong, or nil.
  static func tryOne(
    _ routine: Routine, _ cut: borrowing CutMapping, _ target: UnsafeMutableRawBufferPointer, before: Int, count: Int,
    shift: Int
  ) -> String? {
    let start = cut.descriptorEnd - before
    let room = target.baseAddress! + margin
    memset(target.baseAddress!, 0xEE, target.count)
    let missing = routine(room + shift, cut.base + start, count)
    let good = min(before, count)
    guard missing >= count - good, missing <= count else { return "\(missing) missing" }
    if good == count, missing != 0 { return "\(missing) missing of a whole copy" }
    if count - missing < good - routine.shortfall(count) { return "\(missing) missing, \(good) could be had" }
    if pgt_pattern_mismatch(room + shift, count - missing, UInt64(start)) >= 0 { return "wrong bytes" }
    // Behind what it copied it may have stored true bytes of the source, but nothing behind the lost page's first byte.
    for index in 0..<shift + margin where target[index] != 0xEE { return "stored in front of the destination" }
    for index in margin + shift + good..<target.count where target[index] != 0xEE { return "stored behind the loss" }
    return nil
  }

  private static func run(
    _ routine: Routine, befores: [Int], counts: [Int], shifts: [Int], pages: Int = 3
  ) throws {
    try FaultGuard.install()
    let cut = try CutMapping(pages: 2 * pages, kept: pages)
    let target = UnsafeMutableRawBufferPointer.allocate(
      byteCount: (counts.max() ?? 0) + 2 * margin + 64, alignment: 64)
    defer { target.deallocate() }
    var tries = 0
    for before in befores {
      for count in counts {
        for shift in shifts {
          tries += 1
          if let wrong = tryOne(routine, cut, target, before: before, count: count, shift: shift) {
            Issue.record("\(routine): \(count) bytes, \(before) before the loss, target shifted by \(shift): \(wrong)")
            return
          }
        }
      }
    }
    #expect(tries == befores.count * counts.count * shifts.count)
  }

  @Test(arguments: Routine.allCases)
  func `every small size stops at the lost page from every distance`(_ routine: Routine) throws {
    try Self.run(routine, befores: Array(0...150), counts: Array(0...300), shifts: [0])
  }

  @Test(arguments: Routine.allCases)
  func `every alignment of the source against every alignment of the target`(_ routine: Routine) throws {
    try Self.run(
      routine, befores: Array(1...33), counts: [1, 3, 7, 8, 9, 16, 17, 31, 32, 33, 63, 64, 65], shifts: Array(0..<16))
  }

  @Test(arguments: Routine.allCases)
  func `large sizes stop at the lost page, at page edges too`(_ routine: Routine) throws {
    let page = CutMapping.pageSize
    try Self.run(
      routine,
      befores: [0, 1, 31, 32, 33, 2047, 2048, 2049, page - 1, page, page + 1, 2 * page, 2 * page + 7, 3 * page],
      counts: [301, 1023, 2040, 2047, 2048, 2049, 2080, page - 1, page, page + 1, 2 * page, 2 * page + 1, 3 * page],
      shifts: [0, 1, 13])
  }

  @Test func `threads in checked copies at once do not disturb each other`() throws {
    try FaultGuard.install()
    onThreads(8) { number in
      let cut = try! CutMapping(pages: 2, kept: 1)
      var bytes = [UInt8](repeating: 0, count: 4096)
      for round in 0..<2_000 {
        let before = 1 + (round * 37 + number) % 512
        let missing = pgw_copy_portable(&bytes, cut.base + SystemPage.size - before, 1024)
        check(missing == 1024 - before, "thread \(number) round \(round): \(missing) missing of \(1024 - before)")
        let shorter = pgw_copy_checked(&bytes, cut.base + SystemPage.size - before, 1024)
        check((1024 - before..<1024 - before + 32).contains(shorter), "thread \(number): \(shorter) missing")
      }
      check(!FaultGuard.status.isBlockedOnThisThread, "SIGBUS stays blocked after the jump")
    }
  }

  #if arch(x86_64)
    @Test func `a destination that is lost itself is an error and not a death`() throws {
      let folder = try TemporaryDirectory()
      let file = try PatternFile(folder.appending("source"), size: 20_000)
      let map = try MappedFile(file.path)
      let lost = try CutMapping(pages: 4, kept: 1, writable: true)
      for count in [64, 3000, 16_000] {
        #expect {
          try map.copy(
            0..<count, into: .init(start: lost.base + SystemPage.size - 32, count: count), check: .size)
        } throws: { ($0 as? MappingError)?.code == .faulted && ($0 as? MappingError)?.operation == .copy }
      }
      // The mapping itself is healthy.
      #expect(map.fault == nil)
    }
  #endif

  @Test func `a copy across a cut delivers what the file still has, and names the first byte that it has not`() throws {
    let page = SystemPage.size
    let folder = try TemporaryDirectory()
    let file = try PatternFile(folder.appending("file"), size: Int64(4 * page))
    let map = try MappedFile(file.path, offset: 100)
    for end in [page, page + 1, 2 * page - 1, 2 * page] {
      try file.fill(size: Int64(4 * page))
      try file.resize(Int64(end))
      for count in [1, 8, 63, 300, 3000] {
        var bytes = [UInt8](repeating: 0, count: count)
        // All of it in front of the end, by one byte.
        let last = end - 100
        try bytes.withUnsafeMutableBytes { try map.copy(last - count..<last, into: $0) }
        #expect(bytes == PatternFile.bytes(Int64(end - count)..<Int64(end)))
        // One byte too far.
        #expect {
          try bytes.withUnsafeMutableBytes { try map.copy(last - count + 1..<last + 1, into: $0) }
        } throws: { ($0 as? MappingError)?.code == .truncated && ($0 as? MappingError)?.offset == Int64(end) }
      }
    }
    #expect(map.fault == nil, "a checked copy replaces no page")
  }
}

extension CutMapping {
  /// Where the file ends.
  var descriptorEnd: Int { Int((try? descriptor.seek(offset: 0, from: .end)) ?? 0) }
}

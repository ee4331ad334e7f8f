// SPDX-License-Identifier: Apache-2.0

import MemoryMapping
import Synchronization
import SystemPackage
import Testing
import _CTestSupport
import _TestSupport

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#endif

/// Readers against a process that cuts the file and lets it grow again, all the time.
///
/// The file's bytes are 1 to 251 and the fill byte is 255: a 255 that leaves a scope or a copy without an error was made
/// up. `PAGEWISE_LONG=1` goes on until a million faults were survived.
@Suite(.serialized) struct FaultSoakTests {
  static let isLong = getenv("PAGEWISE_LONG") != nil
  static let pages = 32
  static let readers = 3

  struct Tally {
    var faults = 0
    var scopes = 0
    var thrown = 0
    var copies = 0
    var refused = 0
    var recovered = 0
  }

  @Test(arguments: WriterProcess.Habit.allCases)
  func `readers survive a file that is cut all the time and get no invented byte`(_ habit: WriterProcess.Habit) throws {
    let wanted = Self.isLong ? 340_000 : 1_500
    let size = Self.pages * SystemPage.size
    let folder = try TemporaryDirectory()
    let file = try PatternFile(folder.appending("file"), size: Int64(size))
    let total = Locked(Tally())
    let faults = Atomic<Int>(0)
    let copyFaultsBefore = FaultGuard.status.copyFaultCount
    let start = pgt_now_ns()
    // The sizes are such that a map can be made at any time: it needs the full length.
    var options = MappedFile.Options()
    options.fillByte = 0xFF
    let descriptor = file.descriptor
    let maps = try (0..<Self.readers).map { number in
      // Every second one has no descriptor: each lost page is a fault of its own there, and the way back is a new mapping.
      options.keepsDescriptor = number % 2 == 0
      return try Boxed(MappedFile(descriptor: descriptor, options: options))
    }
    let writer = try WriterProcess(file.path, size: size, habit, seed: 77)
    withWatchdog("the soak, \(habit)", seconds: Self.isLong ? 900 : 120) {
      onThreads(Self.readers) { number in
        var tally = Tally()
        var random = Random(seed: UInt64(number) + 1)
        while faults.load(ordering: .relaxed) < wanted {
          faults.add(Self.step(&maps[number].value, descriptor, habit, &random, &tally), ordering: .relaxed)
        }
        total.withLock {
          $0.faults += tally.faults
          $0.scopes += tally.scopes
          $0.thrown += tally.thrown
          $0.copies += tally.copies
          $0.refused += tally.refused
          $0.recovered += tally.recovered
        }
      }
    }
    _ = consume writer
    let seconds = Double(pgt_now_ns() - start) / 1e9
    let tally = total.withLock { $0 }
    let copyFaults = FaultGuard.status.copyFaultCount - copyFaultsBefore
    print(
      "soak, writer \(habit): \(tally.faults) faults with replaced pages, \(copyFaults) in checked copies, 0 deaths; "
        + "\(tally.scopes) scopes whole, \(tally.thrown) thrown, \(tally.copies) copies whole, \(tally.refused) refused, "
        + "\(tally.recovered) recoveries; \(Int(seconds * 10) / 10) s")
    #expect(tally.faults >= wanted && tally.thrown > 0 && tally.scopes > 0 && tally.copies > 0 && tally.recovered > 0)
  }

  /// A scope over the whole file, a recovery if it was lost, a few checked copies. The number of faults.
  private static func step(
    _ map: inout MappedFile, _ file: FileDescriptor, _ habit: WriterProcess.Habit, _ random: inout Random,
    _ tally: inout Tally
  ) -> Int {
    let page = SystemPage.size
    let inPage = random.below(page)
    var found = 0
    do throws(MappingError) {
      // One byte of each page, from the end: that is where it was cut.
      let wrong = try map.withBytes { (span: RawSpan) -> Int in
        span.withUnsafeBytes { bytes in
          var wrong = -1
          for number in (0..<pages).reversed() {
            let at = number * page + inPage
            let byte = pgt_touch(bytes.baseAddress! + at)
            if byte != UInt8(1 + at % 251), byte != 0 { wrong = at }
          }
          return wrong
        }
      }
      check(wrong < 0, "a scope gave an invented byte at \(wrong)")
      tally.scopes += 1
    } catch {
      check(error.code == .truncated || error.code == .faulted, "\(error)")
      tally.thrown += 1
      found = map.fault?.count ?? 0
      check(found > 0, "an error without a fault")
      tally.faults += found
    }
    if !map.options.keepsDescriptor {
      while map.fault != nil {
        if let fresh = try? MappedFile(descriptor: file, length: pages * page, options: map.options) {
          map = fresh
          tally.recovered += 1
        }
      }
      return found
    }
    if map.fault != nil {
      do throws(MappingError) {
        try map.recover()
        tally.recovered += 1
      } catch {
        check(error.code == .truncated || error.code == .faulted, "\(error)")
        // Its count goes on; what was counted must not be counted again. So wait until the file has grown.
        while map.fault != nil { try? map.recover() }
        tally.recovered += 1
      }
    }
    copies(map, habit, &random, &tally)
    return found
  }

  private static func copies(
    _ map: borrowing MappedFile, _ habit: WriterProcess.Habit, _ random: inout Random, _ tally: inout Tally
  ) {
    let size = pages * SystemPage.size
    withUnsafeTemporaryAllocation(byteCount: 512, alignment: 16) { buffer in
      for _ in 0..<2 {
        let count = 1 + random.below(512)
        let at = random.below(size - count)
        let check = random.below(2) == 0 ? FaultCheck.size : .stamp
        do throws(MappingError) {
          try map.copy(at..<at + count, into: .init(rebasing: buffer[..<count]), check: check)
          tally.copies += 1
          // Holes are zeros by right, unless the writer leaves none; then a stamp excludes even those of a passing cut.
          let isPure = habit == .rewrites && check == .stamp
          let wrong =
            isPure
            ? pgt_pattern_mismatch(buffer.baseAddress, count, UInt64(at))
            : pgt_pattern_mismatch_or(buffer.baseAddress, count, UInt64(at), 0)
          if wrong >= 0 { _TestSupport.check(false, "a copy gave an invented byte at \(at) + \(wrong), \(check)") }
        } catch {
          if ![.truncated, .changed, .faulted].contains(error.code) { _TestSupport.check(false, "\(error)") }
          tally.refused += 1
        }
      }
    }
  }
}

/// A noncopyable value in a place that several closures can reach, each only its own.
final class Boxed: @unchecked Sendable {
  var value: MappedFile
  init(_ value: consuming MappedFile) { self.value = value }
}

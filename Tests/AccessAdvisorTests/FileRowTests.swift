// SPDX-License-Identifier: Apache-2.0

import AccessAdvisor
import MemoryMapping
import SystemPackage
import Testing
import _TestSupport

/// The table of a file: which rows, which strategies, and the arithmetic over them.
@Suite(.serialized) struct FileRowTests {
  static let small: [Access.Kind] = [.wholeOnce, .randomBytesFew, .randomBytesMany, .openReadClose]
  static let medium: [Access.Kind] = [
    .wholeOnce, .sequential, .randomPagesFew, .randomPagesMany, .randomBytesFew, .randomBytesMany, .openReadClose,
  ]

  /// What has to stand in the table of a file of this size.
  static let rows: [(size: Int64, kinds: [Access.Kind])] = [
    (1, small), (4095, small), (4096, small), (4097, medium), (64 << 10, medium), (64 << 10 + 1, medium.dropLast()),
    (1 << 20 - 3, medium.dropLast()),
  ]

  @Test func `every access pattern is measured by every strategy that can serve it`() throws {
    let folder = try TemporaryDirectory()
    withWatchdog("rows") {
      withEvery("row", in: Self.rows) { row in
        let path = try storedFile(folder, "f", size: row.size)
        try withEveryTemperature { cold in
          let report = try advise(path, cold: cold)
          check(report.results.map(\.access.kind) == row.kinds, "rows are \(report.results.map(\.access.kind))")
          check(report.measuring.isVerified && !report.measuring.isInterrupted)
          check(report.measuring.windowBytes == row.size)
          for result in report.results {
            let isPass = [.wholeOnce, .sequential, .openReadClose].contains(result.access.kind)
            let expected: [FileBytes.Strategy] = isPass ? FileBytes.Strategy.allCases : [.map, .mapPopulate, .read]
            check(result.cells.map(\.strategy) == expected, "\(result.access.kind): \(result.cells.map(\.strategy))")
            checkArithmetic(result)
          }
        }
      }
    }
  }

  private func withEveryTemperature(_ body: (Bool) throws -> Void) throws {
    withEvery("cold", in: [false, true], body)
  }

  private func checkArithmetic(_ row: AccessResult) {
    for cell in row.cells {
      check(cell.rounds > 0 && cell.medianNanoseconds > 0, "\(cell)")
      check(cell.fastestNanoseconds <= cell.medianNanoseconds, "\(cell)")
      check(cell.medianNanoseconds <= cell.slowestNanoseconds, "\(cell)")
      check(!cell.isExtrapolated && !cell.method.isEmpty, "\(cell)")
    }
    let least = row.cells.map(\.medianNanoseconds).min()
    check(row.best?.medianNanoseconds == least, "best is not the least")
    guard let chosen = row.chosen, let best = row.best, let regret = row.regret else {
      return check(false, "\(row.access.kind): nothing chosen")
    }
    check(chosen.isMeasured && chosen.rounds > 0)
    check(chosen.call.hasPrefix("FileBytes(path, access: \(row.access.patternSource))"), chosen.call)
    check(!chosen.sentence.isEmpty)
    check(regret == Double(chosen.medianNanoseconds) / Double(best.medianNanoseconds), "regret \(regret)")
  }

  @Test func `few and many places differ, and pages from bytes`() throws {
    let folder = try TemporaryDirectory()
    let report = try advise(try storedFile(folder, "f", size: 300_000))
    let few = try #require(report.row(.randomPagesFew)?.access)
    let many = try #require(report.row(.randomPagesMany)?.access)
    #expect(few.count < many.count && few.readSize == 4096 && many.readSize == 4096)
    let fewBytes = try #require(report.row(.randomBytesFew)?.access)
    let manyBytes = try #require(report.row(.randomBytesMany)?.access)
    #expect(fewBytes.count < manyBytes.count && fewBytes.readSize == 1 && manyBytes.readSize == 1)
    #expect(fewBytes.pattern == .sparse(count: fewBytes.count))
    #expect(report.results.map(\.access.title).count == Set(report.results.map(\.access.title)).count)
  }

  @Test func `an empty file has no rows, and advice all the same`() throws {
    let folder = try TemporaryDirectory()
    let report = try advise(try folder.file("empty"))
    #expect(report.results.isEmpty && report.file.facts.size == 0 && report.file.residentFraction == 1)
    #expect(report.advice == "It is empty: every call works and costs no more than opening it.")
  }

  @Test func `a file of proc is read only, and its bytes are not compared`() throws {
    let report = try withWatchdog("proc") { try advise("/proc/cpuinfo") }
    #expect(report.results.map(\.access.kind) == [.wholeOnce])
    #expect(report.results[0].cells.map(\.strategy) == [.read, .stream])
    #expect(!report.measuring.isVerified)
    #expect(report.hazards == [.synthetic])
    #expect(report.advice.contains("cannot be mapped"))
  }

  @Test func `a smaller budget has fewer rounds`() throws {
    let folder = try TemporaryDirectory()
    let path = try storedFile(folder, "f", size: 1 << 20)
    let short = try advise(path, seconds: 0.02)
    let long = try advise(path, seconds: 1.2)
    #expect(short.rounds < long.rounds, "\(short.rounds) and \(long.rounds)")
  }

  @Test(arguments: [false, true])
  func `of a large file a part is measured, marked and extrapolated`(cold: Bool) throws {
    let folder = try TemporaryDirectory()
    let path = folder.appending("large")
    _ = try PatternFile(path, size: 256 << 20, windows: [0..<1 << 20])
    let report = try withWatchdog("large") { try advise(path, seconds: 0.05, cold: cold) }
    #expect(report.measuring.windowBytes < 256 << 20)
    #expect(report.hazards.contains(.sampled))
    for row in report.results {
      for cell in row.cells {
        let isPart = row.access.kind == .wholeOnce || row.access.kind == .sequential || cell.strategy == .mapPopulate
        #expect(cell.isExtrapolated == isPart, "\(row.access.kind) \(cell.strategy)")
      }
      #expect(row.chosen != nil && row.regret != nil)
      if row.chosen?.isMeasured == false, let chosen = row.chosen {
        #expect(chosen.medianNanoseconds == row.cell(chosen.strategy)?.medianNanoseconds)
      }
    }
  }

  @Test(arguments: [Double.nan, .infinity, -.infinity, -1, 0, 1e300, .leastNonzeroMagnitude])
  func `any number of seconds is taken`(seconds: Double) throws {
    let folder = try TemporaryDirectory()
    let path = try storedFile(folder, "f", size: 5000)
    // Long ones are ended after the first row.
    let report = try withWatchdog("seconds") { try advise(path, seconds: seconds, cancelAfter: 300) }
    #expect(report.file.facts.size == 5000)
  }

  @Test func `the advice agrees with the table`() throws {
    let folder = try TemporaryDirectory()
    withEvery("size", in: [100, 50_000, 2 << 20] as [Int64]) { size in
      let report = try advise(try storedFile(folder, "f\(size)", size: size), seconds: 0.3)
      guard let whole = report.row(.wholeOnce), let map = whole.cell(.map), let load = whole.cell(.mapPopulate),
        let read = whole.cell(.read), let stream = whole.cell(.stream)
      else { return check(false, "cells are missing") }
      let mapping = min(map.medianNanoseconds, load.medianNanoseconds)
      let reading = min(read.medianNanoseconds, stream.medianNanoseconds)
      if report.advice.hasPrefix("Map it: ") {
        check(mapping < reading, report.advice)
        check(report.advice.contains("MappedFile(path"), report.advice)
      } else if report.advice.hasPrefix("Read it: ") {
        check(reading < mapping, report.advice)
        let isForced = report.advice.prefix(100).contains("options:) with strategy = .")
        let isMapped = whole.chosen?.strategy == .map || whole.chosen?.strategy == .mapPopulate
        check(isForced == isMapped, "names a call that would map: \(report.advice)")
      } else {
        check(report.advice.hasPrefix("Map or read: "), report.advice)
      }
      check(report.advice.hasSuffix(".") && !report.advice.contains("\n"), report.advice)
    }
  }
}

// SPDX-License-Identifier: Apache-2.0

import MemoryMapping
@_spi(Testing) import SharedMemory
import SystemPackage
import Testing
import _CTestSupport
import _TestSupport

#if canImport(Glibc)
  import Glibc
#elseif canImport(Darwin)
  import Darwin
#endif

/// The latest value of one writer.
@Suite struct CellTests {
  struct Quote: FixedLayout, Equatable {
    var price: Double
    var size: UInt32
    var venue: UInt16
    var flags: UInt16
    var times: InlineArray<3, Int64>

    init(_ number: Int) {
      price = Double(number)
      size = UInt32(truncatingIfNeeded: number)
      venue = UInt16(truncatingIfNeeded: number)
      flags = venue
      times = InlineArray(repeating: Int64(number))
    }

    static func describeLayout(_ layout: inout LayoutDescription<Quote>) {
      layout.field(\.price)
      layout.field(\.size)
      layout.field(\.venue)
      layout.field(\.flags)
      layout.field(\.times)
    }

    static func == (left: Quote, right: Quote) -> Bool {
      left.price == right.price && left.size == right.size && left.venue == right.venue && left.flags == right.flags
        && (0..<3).allSatisfy { left.times[$0] == right.times[$0] }
    }
  }

  /// The same bytes under other names.
  struct Twin: FixedLayout {
    var a: Double
    var b: UInt32
    var c: UInt16
    var d: UInt16
    var e: InlineArray<3, Int64>
    static func describeLayout(_ layout: inout LayoutDescription<Twin>) {
      layout.field(\.e)
      layout.field(\.d)
      layout.field(\.c)
      layout.field(\.b)
      layout.field(\.a)
    }
  }

  /// As many bytes, other numbers.
  struct Other: FixedLayout {
    var a: Double
    var b: Int32
    var c: UInt16
    var d: UInt16
    var e: InlineArray<3, Int64>
    static func describeLayout(_ layout: inout LayoutDescription<Other>) {
      layout.field(\.a)
      layout.field(\.b)
      layout.field(\.c)
      layout.field(\.d)
      layout.field(\.e)
    }
  }

  @Test func `a cell gives the latest value, and nothing before the first`() throws {
    let region = try SharedRegion(creating: RegionLayout(.cell("quote", of: Quote.self), .cell("byte", of: UInt8.self)))
    let cell = try region.cell("quote", of: Quote.self)
    #expect(try cell.load() == nil)
    do {
      var writer = try region.cellWriter("quote", of: Quote.self)
      #expect(code { _ = try region.cellWriter("quote", of: Quote.self) } == .taken)
      for number in 1...5 {
        try writer.store(Quote(number))
        let found = try #require(try cell.loadNumbered())
        #expect(found.value == Quote(number) && found.number == UInt64(number))
      }
    }
    var next = try region.cellWriter("quote", of: Quote.self)
    #expect(try cell.load() == Quote(5))
    try next.store(Quote(6))
    let reader = try SharedRegionReader(inheriting: region.descriptorForChild(as: .readOnly))
    #expect(try reader.cell("quote", of: Quote.self).load() == Quote(6))
    var bytes = try region.cellWriter("byte", of: UInt8.self)
    try bytes.store(200)
    #expect(try reader.cell("byte", of: UInt8.self).load() == 200)
  }

  @Test func `the type's fields must agree, and their names need not`() throws {
    let region = try SharedRegion(creating: RegionLayout(.cell("quote", of: Quote.self)))
    _ = try region.cell("quote", of: Twin.self)
    #expect(code { _ = try region.cell("quote", of: Other.self) } == .layoutDiffers)
    #expect(code { _ = try region.cell("quote", of: UInt64.self) } == .layoutDiffers)
    #expect(code { _ = try region.cellWriter("quote", of: InlineArray<5, UInt64>.self) } == .layoutDiffers)
  }

  static let writerSteps = [
    "owner.load", "owner.take", "cell.write.sequence", "cell.write.fence", "cell.write.word", "cell.write.commit",
    "cell.leave",
  ]

  @Test(.enabled("debug builds only") { EventTests.killPointsAreThere() }, arguments: writerSteps)
  func `a writer killed at a step leaves a whole value, and the next one goes on`(_ step: String) throws {
    let watchdog = Watchdog("killed at \(step)", seconds: 200)
    defer { watchdog.stop() }
    for pass in [1, 2, 9] {
      if pass > 1, step.hasPrefix("owner") || step == "cell.leave" { continue }
      let folder = try NamedRegionTests.folder()
      let region = try SharedRegion(
        creating: RegionLayout(.cell("pair", of: UInt64.self)), named: "r", in: RuntimeFolder(folder.path))
      let cell = try region.cell("pair", of: UInt64.self)
      var victim = try RunningChild(
        [RegionScene.peer, "store", folder.path.string, "r", "20"], environment: ["PAGEWISE_KILL_AT": "\(step):\(pass)"]
      )
      #expect(victim.wait(seconds: 20) == 256 + Int(SIGKILL), "\(step):\(pass) was not reached")
      let left = try cell.loadNumbered()
      #expect(left.map { $0.value == $0.number &* 3 } ?? true, "\(step):\(pass)")
      var next = try RunningChild([RegionScene.peer, "store", folder.path.string, "r", "20"])
      #expect(next.wait(seconds: 20) == 0)
      let last = try cell.loadNumbered()
      #expect(last.map { $0.number == (left?.number ?? 0) + 20 && $0.value == $0.number &* 3 } == true)
    }
  }

  @Test func `writers killed at random leave whole values that only grow`() throws {
    let folder = try NamedRegionTests.folder()
    let region = try SharedRegion(
      creating: RegionLayout(.cell("pair", of: UInt64.self)), named: "r", in: RuntimeFolder(folder.path))
    let cell = try region.cell("pair", of: UInt64.self)
    var random = Random(seed: 41)
    var last: UInt64 = 0
    try withWatchdog("killed cell writers", seconds: RegionScene.isLong ? 3600 : 200) {
      for round in 0..<RegionScene.kills {
        var writer = try RunningChild([RegionScene.peer, "store", folder.path.string, "r", "1000000000"])
        let begin = last
        let end = pgt_now_ns() + UInt64(random.below(5_000_000))
        while pgt_now_ns() < end || last == begin {
          guard let (value, number) = try cell.loadNumbered() else { continue }
          if value != number &* 3 || number < last { Issue.record("round \(round): \(value), \(number) after \(last)") }
          last = number
        }
        writer.kill()
      }
    }
  }

  @Test func `values are whole while a writer writes as fast as it can`() throws {
    let region = try SharedRegion(creating: RegionLayout(.cell("quote", of: Quote.self)))
    let failures = Locked<[String]>([])
    let rounds = RegionScene.isLong ? 3_000_000 : 100_000
    let isOver = Locked<Bool>(false)
    withWatchdog("readers of a cell", seconds: 240) {
      onThreads(3) { thread in
        do {
          if thread == 0 {
            var writer = try region.cellWriter("quote", of: Quote.self)
            for number in 1...rounds { try writer.store(Quote(number)) }
            isOver.withLock { $0 = true }
          } else {
            let cell = try region.cell("quote", of: Quote.self)
            var last: UInt64 = 0
            while !isOver.withLock({ $0 }) {
              guard let (value, number) = try cell.loadNumbered() else { continue }
              if value != Quote(Int(number)) || number < last { failures.withLock { $0.append("\(number): \(value)") } }
              last = number
            }
          }
        } catch {
          failures.withLock { $0.append("\(error)") }
        }
      }
    }
    #expect(failures.withLock { $0.prefix(3) } == [])
    #expect(try region.cell("quote", of: Quote.self).load() == Quote(rounds))
  }
}

// SPDX-License-Identifier: Apache-2.0

import MemoryMapping
import Testing

private struct Tick: FixedLayout, Equatable {
  var time: UInt64
  var price: Double
  var size: UInt32
  var venue: UInt16
  var flags: UInt16
  static func describeLayout(_ layout: inout LayoutDescription<Tick>) {
    layout.field(\.flags)  // in any order
    layout.field(\.time)
    layout.field(\.price)
    layout.field(\.size)
    layout.field(\.venue)
  }
}

private struct InnerPadding: FixedLayout {
  var a: UInt8
  var b: UInt32
  static func describeLayout(_ layout: inout LayoutDescription<InnerPadding>) {
    layout.field(\.a)
    layout.field(\.b)
  }
}

private struct TailPadding: FixedLayout {
  var a: UInt32
  var b: UInt8
  static func describeLayout(_ layout: inout LayoutDescription<TailPadding>) {
    layout.field(\.a)
    layout.field(\.b)
  }
}

/// The forgotten field is of a type for which not every bit pattern is valid.
private struct ForgottenBool: FixedLayout {
  var a: UInt8
  var b: Bool
  static func describeLayout(_ layout: inout LayoutDescription<ForgottenBool>) { layout.field(\.a) }
}

private struct Nothing: FixedLayout {
  var a: UInt32
  static func describeLayout(_ layout: inout LayoutDescription<Nothing>) {}
}

private struct Twice: FixedLayout {
  var a: UInt16
  var b: UInt16
  static func describeLayout(_ layout: inout LayoutDescription<Twice>) {
    layout.field(\.a)
    layout.field(\.a)
    layout.field(\.b)
  }
}

private struct Computed: FixedLayout {
  var a: UInt32
  var low: UInt16 { UInt16(truncatingIfNeeded: a) }
  static func describeLayout(_ layout: inout LayoutDescription<Computed>) {
    layout.field(\.a)
    layout.field(\.low)
  }
}

private struct Itself: FixedLayout {
  var a: Bool
  static func describeLayout(_ layout: inout LayoutDescription<Itself>) { layout.field(\.self) }
}

private struct Empty: FixedLayout {
  static func describeLayout(_ layout: inout LayoutDescription<Empty>) {}
}

private struct Outer: FixedLayout {
  var head: UInt64
  var inner: TailPadding
  var rest: (UInt8, UInt8, UInt8)
  static func describeLayout(_ layout: inout LayoutDescription<Outer>) {
    layout.field(\.head)
    layout.field(\.inner)
    layout.field(\.rest)
  }
}

private struct Composite: FixedLayout {
  var name: [6 of UInt8]
  var code: UInt16
  var bytes: (UInt8, UInt8, UInt8, UInt8)
  var reserved: UInt32
  var tick: Tick
  static func describeLayout(_ layout: inout LayoutDescription<Composite>) {
    layout.field(\.name)
    layout.field(\.code)
    layout.field(\.bytes)
    layout.field(\.reserved)
    layout.field(\.tick)
  }
}

private struct PaddedTuple: FixedLayout {
  var pair: (UInt8, UInt16, UInt32)
  static func describeLayout(_ layout: inout LayoutDescription<PaddedTuple>) {
    layout.field(\.pair)
  }
}

@Suite struct ViewsFixedLayoutTests {
  static func problem<T: FixedLayout>(_ type: T.Type) -> LayoutError.Problem? {
    do throws(LayoutError) { try verifyFixedLayout(type) } catch { return error.problem }
    return nil
  }

  @Test func `standard numbers, and inline arrays of them, are fixed`() {
    func expectFixed<T: FixedLayout>(_ type: T.Type, bytes: Int) {
      #expect(Self.problem(type) == nil, "\(type)")
      #expect(MemoryLayout<T>.size == bytes, "\(type)")
      #expect(MemoryLayout<T>.stride == bytes, "\(type)")
    }
    expectFixed(Int8.self, bytes: 1)
    expectFixed(UInt8.self, bytes: 1)
    expectFixed(Int16.self, bytes: 2)
    expectFixed(UInt16.self, bytes: 2)
    expectFixed(Int32.self, bytes: 4)
    expectFixed(UInt32.self, bytes: 4)
    expectFixed(Int64.self, bytes: 8)
    expectFixed(UInt64.self, bytes: 8)
    expectFixed(Int128.self, bytes: 16)
    expectFixed(UInt128.self, bytes: 16)
    expectFixed(Int.self, bytes: MemoryLayout<Int>.size)
    expectFixed(UInt.self, bytes: MemoryLayout<Int>.size)
    expectFixed(Float.self, bytes: 4)
    expectFixed(Double.self, bytes: 8)
    expectFixed([3 of UInt16].self, bytes: 6)
    expectFixed([2 of [5 of UInt8]].self, bytes: 10)
    expectFixed([2 of Tick].self, bytes: 48)
  }

  @Test func `a struct whose named fields cover it is fixed`() {
    // Twice: the second time is answered from the table of proved types.
    #expect(Self.problem(Tick.self) == nil)
    #expect(Self.problem(Tick.self) == nil)
    #expect(Self.problem(Composite.self) == nil)
    #expect(MemoryLayout<Composite>.size == 40)
  }

  @Test func `each wrong adoption is named, every time it is asked`() {
    for _ in 0..<2 {
      #expect(Self.problem(InnerPadding.self) == .gap(1..<4))
      #expect(Self.problem(TailPadding.self) == .gap(5..<8))
      #expect(Self.problem(ForgottenBool.self) == .gap(1..<2))
      #expect(Self.problem(Nothing.self) == .gap(0..<4))
      #expect(Self.problem(Twice.self) == .overlap(0..<2))
      #expect(Self.problem(Computed.self) == .notStored(typeName: "UInt16"))
      #expect(Self.problem(Itself.self) == .describesItself)
      #expect(Self.problem(Empty.self) == .empty)
      #expect(Self.problem([0 of UInt8].self) == .empty)
      #expect(Self.problem(Outer.self) == .field(typeName: "TailPadding", .gap(5..<8)))
      #expect(
        Self.problem([4 of InnerPadding].self) == .field(typeName: "InnerPadding", .gap(1..<4)))
      guard case .paddingInField? = Self.problem(PaddedTuple.self) else {
        Issue.record("a padded tuple passed")
        return
      }
    }
  }

  @Test func `the error names type, bytes and remedy`() {
    let error = #expect(throws: LayoutError.self) { try verifyFixedLayout(InnerPadding.self) }
    #expect(error?.typeName == "InnerPadding")
    #expect(error?.description.contains("bytes 1..<4") == true)
    #expect(error?.description.contains("reserved: [3 of UInt8]") == true)
  }

  @Test func `records refuse a wrong adoption before any byte is read`() {
    withSpan([UInt8](repeating: 2, count: 64)) { span in
      #expect(throws: LayoutError.self) { _ = try span.records(of: ForgottenBool.self).count }
      #expect(throws: LayoutError.self) { _ = try span.records(of: Empty.self).count }
    }
  }

  @Test func `a load of a wrong adoption traps and never makes the value`() async {
    await #expect(processExitsWith: .failure) {
      withSpan([1, 2]) { span in
        let value = try? span.load(at: 0, as: ForgottenBool.self)
        print(value as Any)
      }
    }
  }

  @Test func `many types verify beside each other`() {
    // More inline array types than the table has words: they push each other out, and the answers
    // stay right.
    func check<T: FixedLayout>(_ type: T.Type, _ depth: Int) {
      #expect(Self.problem(type) == nil)
      #expect(Self.problem(Twice.self) == .overlap(0..<2))
      if depth > 0 { check([1 of T].self, depth - 1) }
    }
    check(Tick.self, 100)
  }
}

// SPDX-License-Identifier: Apache-2.0

import MemoryMapping
import Testing

@Suite struct ViewsLoadTests {
  static let bytes: [UInt8] = (0..<40).map { UInt8(truncatingIfNeeded: 0x81 + $0 * 7) }

  /// The integer with these bytes, lowest first, said by arithmetic.
  static func reference<T: FixedWidthInteger>(_ bytes: ArraySlice<UInt8>, as type: T.Type) -> T {
    bytes.reversed().reduce(0) { ($0 << 8) | T(truncatingIfNeeded: $1) }
  }

  static func check<T: FixedLayout & FixedWidthInteger>(_ type: T.Type) throws {
    let size = MemoryLayout<T>.size
    try withSpan(bytes) { (span) throws in
      for offset in 0...(bytes.count - size) {
        let slice = bytes[offset..<(offset + size)]
        let little = size == 1 ? T(truncatingIfNeeded: slice[offset]) : reference(slice, as: type)
        #expect(try span.loadLittleEndian(at: offset, as: type) == little, "\(type) at \(offset)")
        #expect(
          try span.loadBigEndian(at: offset, as: type) == little.byteSwapped, "\(type) at \(offset)"
        )
        #expect(try T(littleEndian: span.load(at: offset, as: type)) == little)
        #expect(T(littleEndian: span[offset, as: type]) == little)
      }
      for offset in [-1, -size, bytes.count - size + 1, bytes.count, .max, .min] {
        let error = #expect(throws: ViewBoundsError.self) { try span.load(at: offset, as: type) }
        #expect(error?.offset == offset)
        #expect(error?.length == size)
        #expect(error?.count == bytes.count)
        #expect(throws: ViewBoundsError.self) { try span.loadLittleEndian(at: offset, as: type) }
        #expect(throws: ViewBoundsError.self) { try span.loadBigEndian(at: offset, as: type) }
      }
    }
  }

  @Test func `integers load from every offset in both byte orders, and from none outside`() throws {
    try Self.check(UInt8.self)
    try Self.check(Int8.self)
    try Self.check(UInt16.self)
    try Self.check(Int16.self)
    try Self.check(UInt32.self)
    try Self.check(Int32.self)
    try Self.check(UInt64.self)
    try Self.check(Int64.self)
    try Self.check(UInt128.self)
    try Self.check(Int128.self)
    try Self.check(Int.self)
    try Self.check(UInt.self)
  }

  @Test func `known bytes give known numbers`() throws {
    try withSpan([0x12, 0x34, 0x56, 0x78, 0x9A, 0xBC, 0xDE, 0xF0]) { (span) throws in
      #expect(try span.loadBigEndian(at: 0, as: UInt32.self) == 0x1234_5678)
      #expect(try span.loadLittleEndian(at: 0, as: UInt32.self) == 0x7856_3412)
      #expect(try span.loadBigEndian(at: 1, as: UInt16.self) == 0x3456)
      #expect(try span.loadBigEndian(at: 4, as: Int16.self) == Int16(bitPattern: 0x9ABC))
      let typed: UInt64 = try span.loadBigEndian(at: 0)
      #expect(typed == 0x1234_5678_9ABC_DEF0)
    }
    try withSpan([0, 0x9A, 0x99, 0x99, 0x99, 0x99, 0x99, 0xF1, 0x3F]) { (span) throws in
      #expect(try Double(bitPattern: span.loadLittleEndian(at: 1)) == 1.1)
    }
  }

  @Test func `a load from no bytes is an error`() throws {
    withSpan([]) { span in
      #expect(throws: ViewBoundsError.self) { try span.load(at: 0, as: UInt8.self) }
    }
  }

  @Test func `the subscript traps outside the span`() async {
    await #expect(processExitsWith: .failure) {
      withSpan([1, 2, 3]) { span in print(span[2, as: UInt16.self]) }
    }
  }
}

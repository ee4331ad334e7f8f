// SPDX-License-Identifier: Apache-2.0

import MemoryMapping
import Testing

@Suite struct ViewsRecordTests {
  @Test func `chunks cover the bytes in order for every size`() {
    for length in 0...40 {
      let bytes = (0..<length).map { UInt8($0) }
      withSpan(bytes) { span in
        for size in [1, 2, 3, 7, 39, 40, 41, 1000, .max] {
          var cursor = span.chunks(of: size)
          var seen: [UInt8] = []
          var count = 0
          while let chunk = cursor.next() {
            #expect(chunk.byteCount == size || cursor.offset == length)
            #expect(chunk.byteCount > 0)
            seen += array(chunk)
            count += 1
            #expect(cursor.offset == seen.count)
          }
          #expect(seen == bytes)
          #expect(count == (length == 0 ? 0 : (length - 1) / size + 1))
          expectEnd(cursor.next())
        }
      }
    }
  }

  @Test func `chunks of nothing are a programmer's error`() async {
    await #expect(processExitsWith: .failure) {
      withSpan([1]) { span in
        var cursor = span.chunks(of: 0)
        print(cursor.next() == nil)
      }
    }
  }

  @Test func `records of a stride leave a remainder`() throws {
    for length in 0...40 {
      let bytes = (0..<length).map { UInt8($0) }
      try withSpan(bytes) { span in
        for stride in [1, 2, 3, 7, 39, 40, 41, .max] {
          var cursor = try span.records(stride: stride)
          #expect(cursor.count == length / stride)
          #expect(cursor.remainder.byteCount == length % stride)
          var seen: [UInt8] = []
          while let record = cursor.next() {
            #expect(record.byteCount == stride)
            seen += array(record)
          }
          #expect(seen + array(cursor.remainder) == bytes)
          expectEnd(cursor.next())
        }
      }
    }
  }

  @Test(arguments: [0, -1, Int.min])
  func `a stride from a damaged header is an error`(stride: Int) throws {
    withSpan([1, 2, 3]) { span in
      let error = #expect(throws: LayoutError.self) { _ = try span.records(stride: stride).count }
      #expect(error?.problem == .strideNotPositive(stride))
    }
  }

  @Test func `typed records come in order, unaligned, with a remainder`() throws {
    let bytes = (0..<31).map { UInt8($0) }
    try withSpan(bytes) { span in
      for start in 0..<9 {
        let part = span.extracting(start..<31)
        var cursor = try part.records(of: UInt32.self)
        #expect(cursor.count == (31 - start) / 4)
        var offset = start
        while let value = cursor.next() {
          let expected = (0..<4).reduce(UInt32(0)) {
            $0 | UInt32(bytes[offset + $1]) << (8 * UInt32($1))
          }
          #expect(UInt32(littleEndian: value) == expected)
          offset += 4
          #expect(cursor.offset == offset - start)
        }
        #expect(array(cursor.remainder) == Array(bytes[offset...]))
        #expect(cursor.next() == nil)
      }
    }
  }

  @Test func `skip goes ahead by whole records and stops at the end`() throws {
    try withSpan((0..<20).map { UInt8($0) }) { span in
      var typed = try span.records(of: UInt16.self)
      var raw = try span.records(stride: 2)
      typed.skip(-3)
      typed.skip(2)
      raw.skip(.min)
      raw.skip(2)
      #expect(typed.offset == 4)
      #expect(raw.offset == 4)
      #expect(typed.next().map { UInt16(littleEndian: $0) } == 0x0504)
      typed.skip(.max)
      raw.skip(.max)
      #expect(typed.next() == nil)
      expectEnd(raw.next())
      #expect(typed.offset == 20)
    }
  }
}

// SPDX-License-Identifier: Apache-2.0

import MemoryMapping
import Testing

@Suite struct ViewsLineTests {
  /// What lines are, said byte by byte.
  static func reference(_ bytes: [UInt8], _ terminators: LineTerminators) -> [[UInt8]] {
    var lines: [[UInt8]] = []
    var line: [UInt8] = []
    for byte in bytes {
      line.append(byte)
      guard byte == UInt8(ascii: "\n") else { continue }
      if terminators == .dropped {
        line.removeLast()
        if line.last == UInt8(ascii: "\r") { line.removeLast() }
      }
      lines.append(line)
      line = []
    }
    return line.isEmpty ? lines : lines + [line]
  }

  static func lines(_ span: RawSpan, _ terminators: LineTerminators) -> [[UInt8]] {
    var cursor = span.lines(terminators: terminators)
    var lines: [[UInt8]] = []
    var offset = 0
    while let line = cursor.next() {
      #expect(cursor.offset > offset, "a step without progress")
      offset = cursor.offset
      lines.append(array(line))
    }
    #expect(cursor.offset == span.byteCount)
    expectEnd(cursor.next())
    return lines
  }

  static func text(_ line: consuming RawSpan?) -> String? {
    guard let line else { return nil }
    return String(decodingUTF8: line)
  }

  static func check(_ bytes: [UInt8], _ note: @autoclosure () -> String = "") {
    withSpan(bytes) { span in
      for terminators in [LineTerminators.dropped, .kept] {
        let got = lines(span, terminators)
        if got != reference(bytes, terminators) {
          Issue.record("\(terminators) \(note()) \(bytes): \(got)")
        }
        if terminators == .kept { #expect(got.flatMap { $0 } == bytes) }
      }
    }
  }

  @Test(arguments: [
    ("", []), ("a", ["a"]), ("a\n", ["a"]), ("\n", [""]), ("\n\n", ["", ""]), ("a\nb", ["a", "b"]),
    ("a\r\nb\r\n", ["a", "b"]), ("a\r", ["a\r"]), ("a\rb\n", ["a\rb"]), ("\r\n", [""]),
    ("\r\r\n", ["\r"]),
    ("\n\r", ["", "\r"]), ("a\n\nb", ["a", "", "b"]),
  ])
  func `a line ends with LF or CR LF`(text: String, expected: [String]) {
    withSpan(Array(text.utf8)) { span in
      #expect(Self.lines(span, .dropped).map { String(decoding: $0, as: UTF8.self) } == expected)
    }
  }

  @Test func `every text of up to eight of a, LF and CR gives the lines of the reference`() {
    let alphabet = Array("a\n\r".utf8)
    var count = 0
    for length in 0...8 {
      var digits = [Int](repeating: 0, count: length)
      while true {
        Self.check(digits.map { alphabet[$0] })
        count += 1
        guard let place = digits.lastIndex(where: { $0 < 2 }) else { break }
        digits[place] += 1
        for later in digits.indices[(place + 1)...] { digits[later] = 0 }
      }
    }
    #expect(
      count == (1...8).reduce(1) { sum, n in sum + Int(repeatElement(3, count: n).reduce(1, *)) })
  }

  @Test func `newlines at every place around block edges are found`() {
    let edges = [
      0, 1, 62, 63, 64, 65, 126, 127, 128, 129, 191, 192, 255, 256, 257, 319, 320, 321, 400,
    ]
    for length in [63, 64, 65, 127, 128, 129, 192, 255, 256, 257, 320, 321, 384, 449] {
      for first in edges where first < length {
        for second in edges where second >= first && second < length {
          var bytes = [UInt8](repeating: UInt8(ascii: "x"), count: length)
          bytes[first] = UInt8(ascii: "\n")
          bytes[second] = UInt8(ascii: "\n")
          if second > 0, second - 1 != first { bytes[second - 1] = UInt8(ascii: "\r") }
          Self.check(bytes, "length \(length), LF at \(first) and \(second)")
        }
      }
    }
  }

  @Test(arguments: [1, 100, 255, 256, 257, 4096, 100_000, 1_000_003])
  func `lines of any length come whole`(length: Int) {
    let long = [UInt8](repeating: UInt8(ascii: "x"), count: length)
    let bytes = long + [10] + long + [13, 10, 10] + long
    withSpan(bytes) { span in
      #expect(Self.lines(span, .dropped) == [long, long, [], long])
    }
  }

  @Test func `random texts give the lines of the reference`() {
    var random = SeededGenerator(1)
    for round in 0..<2000 {
      let length = Int.random(in: 0..<700, using: &random)
      let rarity = [2, 5, 40, 300].randomElement(using: &random)!
      let bytes = (0..<length).map { _ -> UInt8 in
        switch Int.random(in: 0..<rarity, using: &random) {
        case 0: 10
        case 1: 13
        default: UInt8.random(in: 0...255, using: &random)
        }
      }
      Self.check(bytes, "round \(round)")
    }
  }

  @Test func `no byte beside the text is touched`() throws {
    for length in 0...200 {
      for newline in Set([0, length / 2, length - 1]).filter({ $0 >= 0 && $0 < length }) {
        var bytes = [UInt8](repeating: UInt8(ascii: "x"), count: length)
        bytes[newline] = 10
        for atEnd in [false, true] {
          try withFencedSpan(bytes, atEnd: atEnd) { span in
            #expect(Self.lines(span, .kept) == Self.reference(bytes, .kept))
          }
        }
      }
    }
  }

  @Test func `lines stay valid beside each other`() {
    withSpan(Array("one\ntwo\nthree".utf8)) { span in
      var cursor = span.lines()
      let first = cursor.next()
      let second = cursor.next()
      let third = cursor.next()
      let firstText = Self.text(first)
      #expect(firstText == "one")
      let secondText = Self.text(second)
      #expect(secondText == "two")
      let thirdText = Self.text(third)
      #expect(thirdText == "three")
    }
  }

  @Test func `text is decoded with repair or refused`() {
    withSpan([0x61, 0xFF, 0x62]) { span in
      #expect(String(decodingUTF8: span) == "a\u{FFFD}b")
      #expect(String(validatingUTF8: span) == nil)
    }
    withSpan(Array("añ🙂".utf8)) { span in
      #expect(String(validatingUTF8: span) == "añ🙂")
    }
  }
}

// SPDX-License-Identifier: Apache-2.0

import CPlatform
import MemoryMapping
import Testing

@Suite struct ViewsSearchTests {
  static func reference(_ bytes: [UInt8], _ needle: [UInt8], from start: Int = 0) -> Int? {
    guard start <= bytes.count - needle.count else { return nil }
    return (start...(bytes.count - needle.count)).first {
      bytes[$0..<($0 + needle.count)].elementsEqual(needle)
    }
  }

  @Test func `count equals a loop for every size around the blocks`() {
    var random = SeededGenerator(2)
    for length in Array(0...600) + [8063, 8064, 8065, 20_001] {
      let bytes = (0..<length).map { _ in UInt8.random(in: 0..<3, using: &random) }
      let expected = bytes.count { $0 == 1 }
      withSpan(bytes) { span in
        #expect(span.count(of: 1) == expected, "length \(length)")
        #expect(span.count(of: 7) == 0)
        let baseline = unsafe span.withUnsafeBytes { bytes in
          unsafe bytes.baseAddress.map { unsafe pgw_count_byte_baseline($0, bytes.count, 1) } ?? 0
        }
        #expect(baseline == expected, "baseline, length \(length)")
      }
    }
  }

  @Test func `a lane of counters does not overflow`() {
    // 63 rounds of four vectors bring a lane to 252; every byte matches here.
    for length in [128 * 62, 128 * 63, 128 * 64, 128 * 63 * 2 + 77, 1 << 20] {
      withSpan([UInt8](repeating: 0xFF, count: length)) { span in
        #expect(span.count(of: 0xFF) == length)
      }
    }
  }

  @Test func `find equals a loop for every small text and needle`() {
    // All texts of two letters up to length 7, all needles up to length 4, all starts.
    func words(_ length: Int) -> [[UInt8]] {
      (0..<(1 << length)).map { bits in (0..<length).map { UInt8(bits >> $0 & 1) } }
    }
    for text in (0...7).flatMap(words) {
      withSpan(text) { span in
        for needle in (0...4).flatMap(words) {
          for start in 0...(text.count + 1) {
            let expected = start > text.count ? nil : Self.reference(text, needle, from: start)
            let got = span.find(needle, from: start)
            if got != expected {
              Issue.record("\(needle) in \(text) from \(start): \(String(describing: got))")
            }
          }
        }
      }
    }
  }

  @Test func `a needle is found at every place of texts around the blocks`() throws {
    for needleLength in [1, 2, 3, 8, 31, 32, 33, 64, 65] {
      let needle = (0..<needleLength).map { UInt8($0 % 5 + 1) }
      for length in 0...200 where length >= needleLength {
        for place in Set([
          0, 1, 30, 31, 32, 33, 63, 64, 65, (length - needleLength) / 2, length - needleLength,
        ])
        where place >= 0 && place <= length - needleLength {
          var bytes = [UInt8](repeating: 0, count: length)
          bytes.replaceSubrange(place..<(place + needleLength), with: needle)
          try withFencedSpan(bytes, atEnd: true) { span in
            #expect(
              span.find(needle) == place, "needle \(needleLength), text \(length), at \(place)")
            #expect(span.find(needle, from: place) == place)
            #expect(span.find(needle, from: place + 1) == nil)
            #expect(span.find(needle[0]) == place)
            #expect(span.find(needle + [9]) == nil)
          }
        }
      }
    }
  }

  @Test func `no byte beside the text is touched`() throws {
    for length in 0...200 {
      for atEnd in [false, true] {
        // The first and last byte of the needle stand everywhere, so that every candidate is looked
        // at.
        try withFencedSpan([UInt8](repeating: 7, count: length), atEnd: atEnd) { span in
          #expect(span.count(of: 7) == length)
          #expect(span.find(8) == nil)
          #expect(span.find([7, 8, 7]) == nil)
          #expect(span.find([UInt8](repeating: 7, count: length)) == 0)
          #expect(span.find([UInt8](repeating: 7, count: length + 1)) == nil)
        }
      }
    }
  }

  @Test func `vectors and baseline agree on random texts`() {
    var random = SeededGenerator(3)
    for round in 0..<3000 {
      let letters = UInt8([2, 3, 20].randomElement(using: &random)!)
      let bytes = (0..<Int.random(in: 0..<500, using: &random)).map { _ in
        UInt8.random(in: 0..<letters, using: &random)
      }
      let needle = (0..<Int.random(in: 1..<20, using: &random)).map { _ in
        UInt8.random(in: 0..<letters, using: &random)
      }
      let expected = Self.reference(bytes, needle)
      withSpan(bytes) { span in
        #expect(span.find(needle) == expected, "round \(round)")
        let baseline = unsafe span.withUnsafeBytes { text in
          unsafe needle.withUnsafeBytes { needle in
            unsafe text.baseAddress.map {
              unsafe pgw_find_baseline($0, text.count, needle.baseAddress, needle.count)
            } ?? -1
          }
        }
        #expect(baseline == expected ?? -1, "baseline, round \(round)")
      }
    }
  }

  @Test
  func `a text full of false candidates is given to the linear search and still searched right`() {
    // The needle's first and last byte are everywhere, and it differs in the middle only.
    let size = 300_000
    var needle = [UInt8](repeating: 7, count: 999)
    needle[500] = 8
    var bytes = [UInt8](repeating: 7, count: size)
    withSpan(bytes) { #expect($0.find(needle) == nil) }
    bytes[size - 999 + 500] = 8
    withSpan(bytes) { #expect($0.find(needle) == size - 999) }
  }

  @Test(arguments: [
    ("abcabc", "abc", [0, 3]), ("aaaa", "aa", [0, 2]), ("aaaaa", "aa", [0, 2]), ("", "a", []),
    ("abc", "", [0, 1, 2, 3]), ("", "", [0]), ("xay", "a", [1]), ("añb", "ñ", [1]),
    ("abc", "abcd", []),
  ])
  func `matches go on behind each match`(text: String, needle: String, expected: [Int]) {
    withSpan(Array(text.utf8)) { span in
      var cursor = span.matches(of: needle)
      var offsets: [Int] = []
      while let offset = cursor.next() { offsets.append(offset) }
      #expect(offsets == expected)
      #expect(cursor.next() == nil)
    }
  }

  @Test func `a start outside the text finds nothing and does not trap`() {
    withSpan([1, 2, 3]) { span in
      #expect(span.find(1, from: -5) == 0)
      #expect(span.find(3, from: 3) == nil)
      #expect(span.find(3, from: .max) == nil)
      #expect(span.find([3], from: .max) == nil)
      #expect(span.find([1], from: .min) == 0)
      #expect(span.find([], from: 3) == 3)
      #expect(span.find([], from: 4) == nil)
    }
  }

  @Test func `equality and prefix compare bytes`() {
    for (text, other) in [
      ([1, 2, 3], [1, 2]), ([1, 2, 3], []), ([], []), ([1, 2, 3], [2, 2, 3]), ([1], [1, 2]),
    ] {
      let text = text.map { UInt8($0) }
      let other = other.map { UInt8($0) }
      withSpan(text) { span in
        withSpan(other) { otherSpan in
          let startsWith = span.starts(with: otherSpan)
          #expect(startsWith == text.starts(with: other), "\(text) \(other)")
          let isEqual = span.isEqual(to: otherSpan)
          #expect(isEqual == (text == other), "\(text) \(other)")
        }
      }
    }
  }
}

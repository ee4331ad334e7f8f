// SPDX-License-Identifier: Apache-2.0

import CPlatform
import MemoryMapping
import Testing
import _TestSupport

@Suite struct ChecksumTests {
  /// One way to compute a CRC32C.
  struct Way: CustomStringConvertible, Sendable {
    let description: String
    let sum: @Sendable (UInt32, UnsafeRawBufferPointer) -> UInt32

    func callAsFunction(_ bytes: some Sequence<UInt8>, after crc: UInt32 = 0) -> UInt32 {
      Array(bytes).withUnsafeBytes { sum(crc, $0) }
    }
  }

  static let ways = [
    Way(description: "pgw_crc32c") { pgw_crc32c($0, $1.baseAddress, $1.count) },
    Way(description: "pgw_crc32c_portable") { pgw_crc32c_portable($0, $1.baseAddress, $1.count) },
  ]

  /// The definition, one bit at a time.
  static func reference(_ bytes: some Sequence<UInt8>, after crc: UInt32 = 0) -> UInt32 {
    var sum = ~crc
    for byte in bytes { sum = afterZeroByte(sum ^ UInt32(byte)) }
    return ~sum
  }

  static func afterZeroByte(_ register: UInt32) -> UInt32 {
    var sum = register
    for _ in 0..<8 { sum = sum >> 1 ^ (0x82F6_3B78 & (0 &- (sum & 1))) }
    return sum
  }

  /// The reference for every prefix, at the price of one pass.
  static func prefixReferences(_ bytes: [UInt8]) -> [UInt32] {
    bytes.reduce(into: [0]) { sums, byte in sums.append(reference(CollectionOfOne(byte), after: sums.last!)) }
  }

  static func random(_ count: Int, seed: UInt64) -> [UInt8] {
    var generator = SeededGenerator(seed)
    return (0..<count).map { _ in UInt8.random(in: 0...255, using: &generator) }
  }

  @Test func `the vectors of RFC 3720 and the check value come out`() {
    // Appendix B.4 prints the sums as bytes on the wire, lowest first.
    let readCommand: [UInt8] =
      [0x01, 0xC0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x14, 0, 0, 0, 0, 0, 0x04, 0, 0, 0, 0, 0x14]
      + [0, 0, 0, 0x18, 0x28, 0, 0, 0, 0, 0, 0, 0, 0x02, 0, 0, 0, 0, 0, 0, 0]
    let vectors: [(String, [UInt8], UInt32)] = [
      ("32 zeros", [UInt8](repeating: 0, count: 32), 0x8A91_36AA),
      ("32 ones", [UInt8](repeating: 0xFF, count: 32), 0x62A8_AB43),
      ("rising", Array(0..<32), 0x46DD_794E),
      ("falling", Array((0..<32).reversed()), 0x113F_DB5C),
      ("an iSCSI read command", readCommand, 0xD996_3A56),
      ("the check value", Array("123456789".utf8), 0xE306_9283),
      ("nothing", [], 0),
    ]
    withEvery("way", in: Self.ways) { way in
      for (name, bytes, sum) in vectors { check(way(bytes) == sum, "\(name): \(String(way(bytes), radix: 16))") }
    }
    for (name, bytes, sum) in vectors { check(Self.reference(bytes) == sum, "reference, \(name)") }
  }

  @Test func `no bytes, not even a place for them, leave the checksum as it is`() {
    for crc in [0, 1, 0xE306_9283, UInt32.max] {
      #expect(pgw_crc32c(crc, nil, 0) == crc)
      #expect(pgw_crc32c_portable(crc, nil, 0) == crc)
    }
  }

  @Test func `a checksum goes on from every split of its input`() {
    let bytes = Self.random(1100, seed: 11)
    let prefixes = Self.prefixReferences(bytes)
    withEvery("way", in: Self.ways) { way in
      bytes.withUnsafeBytes { all in
        for split in 0...all.count {
          let head = way.sum(0, .init(rebasing: all[..<split]))
          check(head == prefixes[split], "head of \(split)")
          check(way.sum(head, .init(rebasing: all[split...])) == prefixes.last!, "split at \(split)")
        }
      }
    }
  }

  @Test func `every length at every alignment equals the definition`() {
    let bytes = Self.random(600 + 64, seed: 12)
    withEvery("way", in: Self.ways) { way in
      for start in 0..<64 {
        let prefixes = Self.prefixReferences(Array(bytes[start..<start + 600]))
        bytes.withUnsafeBytes { all in
          // Alignments count from a multiple of 64 only if the array begins at one: all 64 are taken, so all occur.
          for length in 0...600 {
            let sum = way.sum(0, .init(rebasing: all[start..<start + length]))
            if sum != prefixes[length] { check(false, "\(length) bytes from \(start)") }
          }
        }
      }
    }
  }

  @Test func `long inputs equal the definition around every edge of the three streams`() {
    // 1008 and 4080 bytes are one round of three; the lengths stand around multiples and sums of them.
    let bytes = Self.random(3 * 4080 + 2 * 1008 + 200, seed: 13)
    let prefixes = Self.prefixReferences(bytes)
    let edges = (0...3).flatMap { long in (0...4).map { long * 4080 + $0 * 1008 } }
    withEvery("way", in: Self.ways) { way in
      bytes.withUnsafeBytes { all in
        for edge in edges {
          for length in max(0, edge - 17)...edge + 80 where length <= all.count {
            let sum = way.sum(0, .init(rebasing: all[..<length]))
            if sum != prefixes[length] { check(false, "\(length) bytes") }
          }
        }
      }
    }
  }

  @Test func `each single bit of an input that fills all streams counts as it must`() {
    // One bit among zeros meets single words of the tables, so each wrong word would show.
    let size = 4080 + 1008 + 64 + 15
    var bytes = [UInt8](repeating: 0, count: size)
    let nothing = Self.reference(bytes)
    // By linearity a set bit adds what its register becomes after the zero bytes behind it.
    var parts = (0..<8).map { UInt32(1) << $0 }
    for place in (0..<size).reversed() {
      for bit in 0..<8 {
        parts[bit] = Self.afterZeroByte(parts[bit])
        bytes[place] = 1 << bit
        for way in Self.ways {
          let sum = bytes.withUnsafeBytes { way.sum(0, $0) }
          if sum != nothing ^ parts[bit] { Issue.record("\(way): bit \(bit) of byte \(place)") }
        }
      }
      bytes[place] = 0
    }
  }

  @Test func `the instruction and the tables agree on large inputs`() {
    for (length, seed) in [(65_536, 1), (65_543, 2), (300_017, 3), (5_000_011, 4)] as [(Int, UInt64)] {
      let bytes = Self.random(length, seed: seed)
      if length < 1 << 20 {
        let expected = Self.reference(bytes)
        for way in Self.ways { #expect(way(bytes) == expected, "\(way), \(length) bytes") }
      }
      let crc = UInt32(truncatingIfNeeded: seed &* 0x9E37_79B9)
      #expect(
        Self.ways[0](bytes, after: crc) == Self.ways[1](bytes, after: crc), "\(length) bytes, going on from \(crc)")
    }
  }

  @Test func `no byte beside the input is touched`() throws {
    let bytes = Self.random(5200, seed: 14)
    let prefixes = Self.prefixReferences(bytes)
    for length in Array(0...130) + [1007, 1008, 1009, 4079, 4080, 4081, 5200] {
      for atEnd in [false, true] {
        try withFencedSpan(Array(bytes.prefix(length)), atEnd: atEnd) { span in
          for way in Self.ways {
            let sum = span.withUnsafeBytes { way.sum(0, $0) }
            #expect(sum == prefixes[length], "\(way), \(length) bytes")
          }
        }
      }
    }
  }
}

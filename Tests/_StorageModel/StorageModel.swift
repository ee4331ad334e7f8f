// SPDX-License-Identifier: Apache-2.0

/// What the writer of the crash tests writes: each state is a function of its number, so that whoever finds a file knows what it
/// must hold.
public enum StorageModel {
  static func hash(_ a: UInt64, _ b: UInt64) -> UInt64 {
    var x = a &* 0x9E37_79B9_7F4A_7C15 ^ b &* 0xC2B2_AE3D_27D4_EB4F
    x ^= x >> 31
    x = x &* 0xD6E8_FEB8_6659_FD93
    return x ^ x >> 29
  }

  /// A file that is changed in scattered places. The number of the state is its first word.
  public struct Scattered {
    public static let slots = 256
    public static let stride = 520
    public static let firstSize = 64 + slots * stride
    public private(set) var number: UInt64 = 0
    public private(set) var content = [UInt8](repeating: 0, count: Scattered.firstSize)

    public init() {}

    /// Bytes of a state: it grows by 100 with every eighth.
    public static func size(_ number: UInt64) -> Int { firstSize + Int(number / 8) * 100 }

    /// What a state changes: the words and where they are.
    public static func changes(_ number: UInt64) -> [(offset: Int, word: UInt64)] {
      var changes: [(Int, UInt64)] = [(0, number)]
      for index in 0..<1 + hash(number, 0) % 16 {
        changes.append((64 + Int(hash(number, index + 1) % UInt64(slots)) * stride, number))
      }
      if number % 8 == 0 { changes.append((size(number) - 8, number)) }
      return changes
    }

    /// Goes on to the next state.
    public mutating func advance() {
      number += 1
      content += [UInt8](repeating: 0, count: Self.size(number) - content.count)
      for (offset, word) in Self.changes(number) {
        withUnsafeBytes(of: word.littleEndian) { content.replaceSubrange(offset..<offset + 8, with: $0) }
      }
    }

    /// The number of the state that a file claims to be.
    public static func number(of content: [UInt8]) -> UInt64 {
      content.count < 8 ? 0 : content.withUnsafeBytes { UInt64(littleEndian: $0.loadUnaligned(as: UInt64.self)) }
    }
  }

  /// Records that are appended. Each tells its length and number.
  public enum Records {
    public static func record(_ number: UInt64) -> [UInt8] {
      let length = 12 + Int(hash(number, 7) % 600)
      var bytes = [UInt8](repeating: 0, count: length)
      withUnsafeBytes(of: UInt32(length).littleEndian) { bytes.replaceSubrange(0..<4, with: $0) }
      withUnsafeBytes(of: number.littleEndian) { bytes.replaceSubrange(4..<12, with: $0) }
      for index in 12..<length { bytes[index] = UInt8(truncatingIfNeeded: number &* 31 &+ UInt64(index) | 1) }
      return bytes
    }

    /// How many records `content` holds, all of them right and nothing behind the last; nil otherwise. The first has `number`.
    public static func count(_ content: [UInt8], from number: UInt64 = 1) -> UInt64? {
      var at = 0
      var next = number
      while at < content.count {
        let record = record(next)
        guard content.count - at >= record.count, content[at..<at + record.count].elementsEqual(record) else {
          return nil
        }
        at += record.count
        next += 1
      }
      return next - number
    }
  }
}

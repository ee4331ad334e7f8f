// SPDX-License-Identifier: Apache-2.0

/// A number for what the bytes of a ``FixedLayout`` type are: which numbers of which kind and size lie where. Names do not count, so a struct that
/// another module or language declares with the same fields has the same hash.
package enum LayoutHash {
  internal struct Piece: Hashable {
    var offset: Int
    var hash: UInt64
    /// How often it is repeated, one behind the other.
    var count: Int
  }

  /// The hash of a type, computed anew: some microseconds.
  package static func hash<T: FixedLayout>(of type: T.Type) -> UInt64 {
    var sum = FNV()
    if type is any _PrimitiveLayout.Type {
      sum.add(kind(of: type))
      sum.add(UInt64(MemoryLayout<T>.size))
      return sum.value
    }
    var layout = LayoutDescription<T>(hashing: ())
    T.describeLayout(&layout)
    sum.add(UInt64(MemoryLayout<T>.stride))
    for piece in (layout.hashes ?? []).sorted(by: { $0.offset < $1.offset }) {
      sum.add(UInt64(piece.offset))
      sum.add(piece.hash)
      sum.add(UInt64(piece.count))
    }
    return sum.value
  }

  /// 1 unsigned, 2 signed, 3 floating point.
  private static func kind<T>(of type: T.Type) -> UInt64 {
    if type is any BinaryFloatingPoint.Type { return 3 }
    return type is any SignedInteger.Type ? 2 : 1
  }

  /// FNV-1a, 64 bits, over the bytes of words in little-endian order.
  private struct FNV {
    var value: UInt64 = 0xCBF2_9CE4_8422_2325

    mutating func add(_ word: UInt64) {
      for shift in 0..<8 {
        value ^= word >> UInt64(shift * 8) & 0xFF
        value &*= 0x100_0000_01B3
      }
    }
  }
}

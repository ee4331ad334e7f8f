// SPDX-License-Identifier: Apache-2.0

/// A sum over bytes that is the same however they are cut into pieces, at the speed of memory: it stands for the work of a
/// program that looks at every byte once, and proves that two ways of reading saw the same.
///
/// Four lanes of 64-bit words; a word's lane follows from its place, so that bytes which moved are noticed. Each piece but
/// the last must be a multiple of 32 bytes.
internal struct Checksum {
  private var lanes = SIMD4<UInt64>.zero

  internal mutating func add(_ span: RawSpan) {
    unsafe span.withUnsafeBytes { unsafe add($0) }
  }

  @inline(__always)
  internal mutating func add(_ bytes: UnsafeRawBufferPointer) {
    guard let base = bytes.baseAddress else { return }
    var sum = lanes
    var other = SIMD4<UInt64>.zero
    let count = bytes.count
    var at = 0
    while at &+ 64 <= count {
      // In bounds by the loop's condition.
      sum &+= unsafe base.loadUnaligned(fromByteOffset: at, as: SIMD4<UInt64>.self)
      other &+= unsafe base.loadUnaligned(fromByteOffset: at &+ 32, as: SIMD4<UInt64>.self)
      at &+= 64
    }
    while at < count {
      sum[(at >> 3) & 3] &+= UInt64(unsafe base.load(fromByteOffset: at, as: UInt8.self)) &<< UInt64((at & 7) * 8)
      at &+= 1
    }
    lanes = sum &+ other
  }

  internal var value: UInt64 { lanes[0] &+ lanes[1] &* 3 &+ lanes[2] &* 5 &+ lanes[3] &* 7 }
}

/// Places for scattered reads: the same for all strategies of one round, others in the next.
internal struct RandomPlaces {
  private var state: UInt64

  internal init(seed: UInt64) { state = seed &* 0x9E37_79B9_7F4A_7C15 &+ 0x2545_F491_4F6C_DD1D }

  /// A number below `bound` (> 0). SplitMix64, reduced by multiplication.
  @inline(__always)
  internal mutating func next(below bound: Int64) -> Int64 {
    state &+= 0x9E37_79B9_7F4A_7C15
    var z = state
    z = (z ^ (z &>> 30)) &* 0xBF58_476D_1CE4_E5B9
    z = (z ^ (z &>> 27)) &* 0x94D0_49BB_1331_11EB
    z ^= z &>> 31
    return Int64(z.multipliedFullWidth(by: UInt64(bound)).high)
  }
}

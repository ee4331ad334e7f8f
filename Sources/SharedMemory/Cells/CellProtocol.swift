// SPDX-License-Identifier: Apache-2.0
//
// A cell: the latest value of one writer.
//
//   offset  size
//        0     8  sequence: how many values were written. The commit point of each
//        8     8  token of the writer; 0 for none
//      128     -  two buffers of `stride` bytes; value n is in buffer n modulo 2
//
//   write                                        read
//   -----                                        ----
//   fence: the sequence is stored before         load the sequence n, acquiring; 0: nothing was written
//     what follows                               copy buffer n modulo 2, word by word
//   fill buffer (n + 1) modulo 2, word by word   fence: the copy is loaded before what follows
//   store n + 1 to the sequence, releasing       load the sequence again: when it is still n, the copy is value n
//
// A writer never touches the buffer of the value that is current, and never waits. A reader begins again when a value was completed while it
// copied: the writer may then be at its buffer. A writer that is killed in the middle has changed nothing that is read.

@_spi(Testing) public struct CellProtocol<Words: SharedWords> {
  public static var sequence: Int { 0 }
  public static var token: Int { 8 }
  public static var buffers: Int { 128 }

  private let words: Words
  private let stride: Int

  /// `byteCount` of a value, rounded up to words inside.
  public init(words: Words, byteCount: Int) {
    self.words = words
    stride = Self.stride(byteCount)
  }

  /// Bytes of a buffer: whole cache lines, so that writer and readers of the two do not meet.
  public static func stride(_ byteCount: Int) -> Int { (byteCount + 127) & ~127 }
  public static func byteCount(_ byteCount: Int) -> Int { buffers + 2 * stride(byteCount) }

  /// Writes the next value. By the one writer.
  public func write(_ count: Int, _ word: (Int) -> UInt64) {
    let next = words.loadRelaxed(Self.sequence, "cell.write.sequence") &+ 1
    words.fenceReleasing("cell.write.fence")
    let buffer = Self.buffers &+ Int(truncatingIfNeeded: next & 1) &* stride
    for index in 0..<count { words.storeRelaxed(word(index), buffer &+ index &* 8, "cell.write.word") }
    words.storeReleasing(next, Self.sequence, "cell.write.commit")
  }

  /// Copies the latest value, `count` words.
  ///
  /// - Returns: its sequence; 0 when there was never one; nil when a value was completed while it was copied: try again.
  public func read(_ count: Int, _ store: (Int, UInt64) -> Void) -> UInt64? {
    let first = words.loadAcquiring(Self.sequence, "cell.read.sequence")
    if first == 0 { return 0 }
    let buffer = Self.buffers &+ Int(truncatingIfNeeded: first & 1) &* stride
    for index in 0..<count { store(index, words.loadRelaxed(buffer &+ index &* 8, "cell.read.word")) }
    words.fenceAcquiring("cell.read.fence")
    return words.loadRelaxed(Self.sequence, "cell.read.check") == first ? first : nil
  }
}

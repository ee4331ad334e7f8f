// SPDX-License-Identifier: Apache-2.0
//
// How processes sleep on a count and are woken: 12 bytes.
//
//   offset  size
//        0     4  count, modulo 2^32: what the kernel sleeps on. Who changes it, and what it means, is its user's affair (event, bell)
//        4     4  wanted: the highest value of the count that somebody waits for
//        8     4  woken: the value of the count up to which all sleepers have been woken
//
//   to wake, after making something             to sleep, after finding nothing
//   -------------------------------             -------------------------------
//   (make the count n)                          know the count, seen
//   fence                                       raise wanted to seen + 1 at least
//   if wanted is beyond woken:                  fence
//     wake all                                  look again
//     store n to woken                          sleep while the count is seen
//
// The fences stand between a store and a load of another word on both sides, so at least one of the two sees the other. Whoever makes the
// count n and wakes afterwards has woken all who slept on less: so n may stand in woken, and a word that falls behind only costs a wake-up. No word
// is ever cleared. (One that is set by sleepers and cleared by wakers can be cleared for a sleeper that the waker has not meant. The model
// found that within a second.) Nobody depends on another waker: one that is killed or stopped before its wake has left woken behind, and the next one
// wakes. Only where no next one comes does a sleeper depend on its patience (`SharedWords.slice`). A sleeper that was killed costs one wake-up.

internal struct Sleepers<Words: SharedWords> {
  private let words: Words
  private let offset: Int

  @inline(__always)
  internal init(words: Words, offset: Int) {
    self.words = words
    self.offset = offset
  }

  internal static var byteCount: Int { 12 }

  @inline(__always)
  private static func isBeyond(_ value: UInt32, _ other: UInt32) -> Bool { Int32(bitPattern: value &- other) > 0 }

  /// Whether somebody may sleep that nobody has woken. After the fence.
  @inline(__always)
  internal var areThere: Bool {
    Self.isBeyond(words.loadHint(offset &+ 4, "sleepers.wanted"), words.loadHint(offset &+ 8, "sleepers.woken"))
  }

  /// Wakes all, the count being `now` or beyond.
  @inline(never)
  internal func wake(_ now: UInt32) {
    words.wake(offset, "sleepers.wake")
    words.storeHint(now, offset &+ 8, "sleepers.store")
  }

  /// Makes known that somebody is going to sleep while the count is `seen`. Look again afterwards.
  @inline(never)
  internal func announce(_ seen: UInt32) {
    let wanted = seen &+ 1
    while true {
      let now = words.loadHint(offset &+ 4, "sleepers.announce")
      if !Self.isBeyond(wanted, now) || words.compareExchangeHint(now, wanted, offset &+ 4, "sleepers.raise") { break }
    }
    words.fence("sleepers.fence")
  }

  internal func sleep(while seen: UInt32, until deadline: Deadline) {
    words.sleep(offset, while: seen, until: deadline, "sleepers.sleep")
  }
}

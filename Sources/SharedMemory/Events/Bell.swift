// SPDX-License-Identifier: Apache-2.0
//
// A bell: how one end of a channel wakes the other, which sleeps only when it has looked and found nothing. 8 bytes:
//
//   offset  size
//        0     4  count of rings, modulo 2^32: what the kernel sleeps on
//        4     4  1 when somebody may sleep
//
//   ring (after making something)       await (after finding nothing)
//   -----------------------------       -----------------------------
//   fence                               load the count
//   if the flag is 1:                   store 1 to the flag
//     store 0 to the flag               fence
//     add 1 to the count                look again: if there is something, done
//     wake all                          sleep while the count is what it was
//
// As long as nobody sleeps, a ring is a fence and a load of a word that nobody writes. It differs from an event in that the count says
// nothing about what was made: that is in the channel's own words, which the sleeper looks at again after its flag. A sleeper that was killed
// leaves a 1, which costs one ring. Who rings and is killed before its wake leaves a sleeper, which wakes by its patience.

@_spi(Testing) public struct Bell<Words: SharedWords> {
  private let words: Words
  private let offset: Int

  @inline(__always)
  public init(words: Words, offset: Int) {
    self.words = words
    self.offset = offset
  }

  /// Wakes whoever may sleep. What was stored before is seen by it.
  @inline(__always)
  public func ring() {
    words.fence("bell.ring.fence")
    if words.loadFlag(offset &+ 4, "bell.ring.flag") != 0 { wakeSleepers() }
  }

  @inline(never)
  private func wakeSleepers() {
    words.storeFlag(0, offset &+ 4, "bell.ring.clear")
    _ = words.addCount(offset, "bell.ring.add")
    words.wake(offset, "bell.ring.wake")
  }

  /// Waits for a ring, until the deadline at most; may end for no reason. Does not sleep when `hasSomething`, which is asked after the flag is up.
  @inline(never)
  public func await(until deadline: Deadline, _ hasSomething: () -> Bool) {
    let seen = words.loadCount(offset, "bell.await.count")
    words.storeFlag(1, offset &+ 4, "bell.await.flag")
    words.fence("bell.await.fence")
    if hasSomething() { return }
    words.sleep(offset, while: seen, until: deadline, "bell.await.sleep")
  }
}

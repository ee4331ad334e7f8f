// SPDX-License-Identifier: Apache-2.0

/// A bell: how one end of a channel wakes the other, which sleeps only when it has looked and found nothing. See ``Sleepers`` for the words.
///
/// Its count says how often it was rung, and nothing about what was made: that is in the channel's own words, which the sleeper looks at again after it
/// has announced itself. As long as nobody sleeps, a ring is a fence and a load of two words that nobody writes.
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
    let sleepers = Sleepers(words: words, offset: offset)
    if sleepers.areThere { sleepers.wake(words.addCount(offset, "bell.ring.add")) }
  }

  /// Makes known that somebody is going to sleep on the count: while it is what this returns. Look again afterwards.
  @inline(never)
  public func announce() -> UInt32 {
    let seen = words.loadCount(offset, "bell.await.count")
    Sleepers(words: words, offset: offset).announce(seen)
    return seen
  }

  /// Waits for a ring, until the deadline at most; may end for no reason. Does not sleep when `hasSomething`, which is asked after the announcement.
  @inline(never)
  public func await(until deadline: Deadline, _ hasSomething: () -> Bool) {
    let seen = announce()
    if hasSomething() { return }
    Sleepers(words: words, offset: offset).sleep(while: seen, until: deadline)
  }
}

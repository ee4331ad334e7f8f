// SPDX-License-Identifier: Apache-2.0

/// An event: its count is how often it was signalled. See ``Sleepers`` for the words.
///
/// Signal: add 1 to the count, fence, wake who may sleep. Wait until the count is not `seen`: look, announce, look again, sleep.
@_spi(Testing) public struct EventProtocol<Words: SharedWords> {
  private let words: Words
  private let offset: Int

  public init(words: Words, offset: Int) {
    self.words = words
    self.offset = offset
  }

  @inline(__always)
  public var count: UInt32 { words.loadCount(offset, "event.count") }

  @inline(__always)
  public func signal() {
    let now = words.addCount(offset, "event.signal.add")
    words.fence("event.signal.fence")
    let sleepers = Sleepers(words: words, offset: offset)
    if sleepers.areThere { sleepers.wake(now) }
  }

  /// Waits for a count other than `seen`: the new one, or `seen` once the deadline has passed or a sleep has ended for no reason.
  public func wait(after seen: UInt32, until deadline: Deadline) -> UInt32 {
    var round = 0
    repeat {
      let now = words.loadCount(offset, "event.wait.spin")
      if now != seen { return now }
      round += 1
    } while words.spinBriefly(round)
    let sleepers = Sleepers(words: words, offset: offset)
    sleepers.announce(seen)
    let now = words.loadCount(offset, "event.wait.check")
    if now != seen { return now }
    sleepers.sleep(while: seen, until: deadline)
    return words.loadCount(offset, "event.wait.woken")
  }
}

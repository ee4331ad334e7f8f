// SPDX-License-Identifier: Apache-2.0
//
// An event: 8 bytes that processes signal and sleep on.
//
//   offset  size
//        0     4  count of signals, modulo 2^32: what the kernel sleeps on
//        4     4  1 when somebody may sleep
//
//   signal                             wait until the count is not `seen`
//   ------                             ----------------------------------
//   add 1 to the count                 spin for a while
//   fence                              store 1 to the flag
//   if the flag is 1:                  fence
//     store 0 to the flag              if the count is still `seen`: sleep
//     wake all
//
// The fences stand between a store and a load of another word on both sides, so at least one of the two sees the other. The flag is no
// count of sleepers: whoever is killed asleep leaves a 1 behind, which costs the next signal one call of the kernel and is gone. A signaller
// that is killed between its add and its wake leaves sleepers asleep; so a waiter that cannot do without sleeps in slices
// (`SharedWords.slice`), and looks at what it waits for again after each.

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
    _ = words.addCount(offset, "event.signal.add")
    words.fence("event.signal.fence")
    if words.loadFlag(offset + 4, "event.signal.flag") != 0 { wakeSleepers() }
  }

  @inline(never)
  private func wakeSleepers() {
    // Before the wake: a sleeper that comes after it sets the flag anew, and sees the new count.
    words.storeFlag(0, offset + 4, "event.signal.clear")
    words.wake(offset, "event.signal.wake")
  }

  /// Waits for a count other than `seen`: the new one, or `seen` once the deadline has passed or a sleep has ended for no reason.
  public func wait(after seen: UInt32, until deadline: Deadline) -> UInt32 {
    var round = 0
    repeat {
      let now = words.loadCount(offset, "event.wait.spin")
      if now != seen { return now }
      round += 1
    } while words.spin(round)
    words.storeFlag(1, offset + 4, "event.wait.flag")
    words.fence("event.wait.fence")
    let now = words.loadCount(offset, "event.wait.check")
    if now != seen { return now }
    words.sleep(offset, while: seen, until: deadline, "event.wait.sleep")
    return words.loadCount(offset, "event.wait.woken")
  }
}

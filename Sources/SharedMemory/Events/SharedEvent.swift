// SPDX-License-Identifier: Apache-2.0

internal import CPlatform

/// A count of signals that peers of a region raise and sleep on.
///
/// ```swift
/// let changed = try region.event("changed")
/// var seen = changed.count
/// while true {
///   work()
///   seen = try changed.wait(after: seen)
/// }
/// ```
///
/// A signal that comes between the look at ``count`` and the wait is not missed: the wait returns at once. Signals are not queued: who waits learns that
/// there were some. Nobody pays for a wake-up when nobody sleeps. A peer killed at any point leaves nothing to repair; the sleepers of a signaller
/// killed in the middle of ``signal()`` wake after a quarter of a second at the latest.
///
/// C counterparts: `FUTEX_WAIT_BITSET`, `FUTEX_WAKE`.
@safe
public struct SharedEvent: Sendable {
  internal static let byteCount = 64

  internal let storage: RegionStorage
  private let offset: Int

  internal init(_ storage: RegionStorage, offset: Int) {
    self.storage = storage
    self.offset = offset
  }

  internal var words: RegionWords { unsafe RegionWords(base: storage.base + offset) }
  private var event: EventProtocol<RegionWords> { EventProtocol(words: words, offset: 0) }

  /// Signals so far, modulo 2^32. What was stored before a signal is seen after reading its count.
  public var count: UInt32 { event.count }

  /// Counts one more and wakes all who sleep.
  ///
  /// - Complexity: some tens of nanoseconds while nobody sleeps, else one call of the kernel.
  public func signal() { event.signal() }

  /// Waits for a count other than `seen`. Spins for some tens of microseconds, then sleeps.
  ///
  /// - Returns: the new count.
  /// - Throws: ``SharedMemoryError``: `timedOut`; `faulted` when the page was lost; `forked`.
  @available(*, noasync, message: "it blocks the thread")
  public func wait(after seen: UInt32, until deadline: Deadline = .never) throws(SharedMemoryError) -> UInt32 {
    try check()
    // What was signalled before is told also when the deadline has passed.
    let already = event.count
    if already != seen { return already }
    while !deadline.hasPassed {
      let now = event.wait(after: seen, until: words.slice(deadline))
      if now != seen { return now }
      try storage.checkFault("wait for an event of")
    }
    throw SharedMemoryError(.timedOut, "wait for an event of", region: storage.name)
  }

  internal func check() throws(SharedMemoryError) {
    if storage.isForeign { throw SharedMemoryError(.forked, "wait for an event of", region: storage.name) }
    try storage.checkFault("wait for an event of")
  }
}

extension SharedRegion {
  /// A part of kind `event`.
  ///
  /// - Throws: ``SharedMemoryError``: `noSuchPart`, `layoutDiffers`, `forked`.
  public borrowing func event(_ name: String) throws(SharedMemoryError) -> SharedEvent {
    let placed = try storage.part(name, .event, "use")
    guard placed.part.byteCount >= SharedEvent.byteCount else {
      throw SharedMemoryError(.damaged, "use", region: storage.name, part: name, note: "it is too small for an event")
    }
    return SharedEvent(storage, offset: placed.offset)
  }
}

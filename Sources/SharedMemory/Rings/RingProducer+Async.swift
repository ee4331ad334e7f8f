// SPDX-License-Identifier: Apache-2.0

extension RingProducer {
  /// Sends a copy of the bytes, suspending the task until there is room: a slow consumer slows its producers down. No thread of the
  /// cooperative pool is blocked.
  ///
  /// - Parameters:
  ///   - bytes: 0 to ``messageLimit``.
  ///   - type: the sender's affair.
  ///   - deadline: until when to wait.
  /// - Throws: as the blocking form, and `CancellationError`: nothing is sent then.
  nonisolated(nonsending)
    public mutating func send(_ bytes: RawSpan, type: UInt16 = 0, until deadline: Deadline = .never) async throws
  {
    while try !trySend(bytes, type: type) {
      try await waitForRoom(bytes.byteCount, until: deadline)
    }
  }

  @usableFromInline
  nonisolated(nonsending) internal mutating func waitForRoom(_ byteCount: Int, until deadline: Deadline) async throws {
    if deadline.hasPassed { throw error(.timedOut) }
    let room = shape.lane(laneIndex) + RingLane.room
    let seen = unsafe Bell(words: RegionWords(base: base), offset: room).announce()
    // Asked after the announcement: a consumer that gives room back from here on rings.
    if try reservePlace(byteCount, until: .now) != nil { return }
    // A consumer that takes over from a killed one rings, so only what it has given back is to be looked at.
    let awaited = unsafe Reactor.WatchedWord(RegionWords(base: base), outbox.pointee.awaited)
    try await unsafe Reactor.wait(
      storage, base + room, while: seen, until: deadline, patience: .watches([awaited]))
  }
}

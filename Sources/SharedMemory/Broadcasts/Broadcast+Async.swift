// SPDX-License-Identifier: Apache-2.0

extension BroadcastReader {
  /// Receives one message, suspending the task until there is one. No thread of the cooperative pool is blocked.
  ///
  /// - Throws: as the blocking form, and `CancellationError`: nothing is received then.
  nonisolated(nonsending)
    public mutating func receive<R>(until deadline: Deadline = .never, _ body: (RawSpan, Message) throws -> R)
    async throws -> R
  {
    while true {
      if let result = try receiveNow(until: deadline, body) { return result }
      try await waitForMessage(until: deadline)
    }
  }

  /// Receives up to `limit` messages, suspending the task until there is one. A follower gives their room back once, after the last.
  ///
  /// - Returns: how many there were, at least 1.
  /// - Throws: as the blocking form, and `CancellationError`: nothing is received then.
  @discardableResult
  nonisolated(nonsending)
    public mutating func receive(
      upTo limit: Int, until deadline: Deadline = .never, _ body: (RawSpan, Message) throws -> Void
    ) async throws -> Int
  {
    while true {
      let count = try receiveNow(upTo: limit, until: deadline, body)
      if count > 0 { return count }
      try await waitForMessage(until: deadline)
    }
  }

  /// Has the descriptor become readable when there is a message, for an event loop.
  ///
  /// - Returns: false when there is one already: nothing was armed then; receive it first.
  /// - Throws: ``SharedMemoryError``: `notSupported` for a region that may only be looked at, `forked`, `faulted`, `memoryExhausted`.
  public mutating func arm(_ readiness: borrowing ReadinessDescriptor) throws(SharedMemoryError) -> Bool {
    guard storage.canWrite else { throw error(.notSupported) }
    guard let seen = try announce() else { return false }
    arming = try unsafe Reactor.signal(
      readiness.storage, storage, words.base + BroadcastShape.bell, while: seen, patience: patience)
    return true
  }

  nonisolated(nonsending) internal mutating func waitForMessage(until deadline: Deadline) async throws {
    try Task.checkCancellation()
    if deadline.hasPassed { throw error(.timedOut) }
    guard storage.canWrite else {
      // It cannot be woken: nobody knows of it.
      let look = min(deadline, .after(.milliseconds(5)))
      return try await Task.sleep(for: .nanoseconds(look.remainingNanoseconds))
    }
    guard let seen = try announce() else { return }
    try await unsafe Reactor.wait(
      storage, words.base + BroadcastShape.bell, while: seen, until: deadline, patience: patience)
  }

  private var patience: Reactor.Patience { .watches([Reactor.WatchedWord(words, inbox.awaited)]) }

  /// What the bell's count must be for a sleep; nil when there is something.
  private func announce() throws(SharedMemoryError) -> UInt32? {
    if storage.isForeign { throw error(.forked) }
    try storage.checkFault("receive from")
    let seen = Bell(words: words, offset: BroadcastShape.bell).announce()
    if case .empty = inbox.next() { return seen }
    return nil
  }
}

extension BroadcastWriter {
  /// Sends a copy of the bytes to all readers, suspending the task while a follower has no room.
  ///
  /// - Throws: as the blocking form, and `CancellationError`: nothing is sent then.
  nonisolated(nonsending)
    public mutating func send(_ bytes: RawSpan, type: UInt16 = 0, until deadline: Deadline = .never) async throws
  {
    while try !trySend(bytes, type: type) {
      if deadline.hasPassed { throw error(.timedOut) }
      let seen = Bell(words: words, offset: BroadcastShape.room).announce()
      if try trySend(bytes, type: type) { return }
      // A follower's death makes room as well, and tells nobody.
      try await unsafe Reactor.wait(
        storage, words.base + BroadcastShape.room, while: seen, until: deadline, patience: .ends)
    }
  }
}

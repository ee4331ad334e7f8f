// SPDX-License-Identifier: Apache-2.0

extension RingConsumer {
  /// Receives one message, suspending the task until there is one. No thread of the cooperative pool is blocked.
  ///
  /// - Parameters:
  ///   - deadline: until when to wait.
  ///   - body: reads the message in place. The span cannot leave it.
  /// - Returns: what `body` returns.
  /// - Throws: as the blocking form, and `CancellationError`: nothing is received then.
  @inlinable
  nonisolated(nonsending)
    public mutating func receive<R>(until deadline: Deadline = .never, _ body: (RawSpan, _ type: UInt16) throws -> R)
    async throws -> R
  {
    while true {
      if let result = try tryReceive(body) { return result }
      try await waitForMessage(until: deadline)
    }
  }

  /// Receives up to `limit` messages, suspending the task until there is one. Their room is given back once, after the last.
  ///
  /// - Returns: how many there were, at least 1.
  /// - Throws: as the blocking form, and `CancellationError`: nothing is received then.
  @discardableResult
  @inlinable
  nonisolated(nonsending)
    public mutating func receive(
      upTo limit: Int, until deadline: Deadline = .never, _ body: (RawSpan, _ type: UInt16) throws -> Void
    ) async throws -> Int
  {
    while true {
      let count = try tryReceive(upTo: limit, body)
      if count > 0 { return count }
      try await waitForMessage(until: deadline)
    }
  }

  /// Has the descriptor become readable when there is a message, for an event loop.
  ///
  /// - Returns: false when there is one already: nothing was armed then; receive it first.
  /// - Throws: ``SharedMemoryError``: `forked`, `faulted`, `memoryExhausted` when no thread can be had.
  public mutating func arm(_ readiness: borrowing ReadinessDescriptor) throws(SharedMemoryError) -> Bool {
    guard let seen = try announce() else { return false }
    arming = try unsafe Reactor.signal(
      readiness.storage, storage, base + RingShape.bell, while: seen, patience: patience)
    return true
  }

  @usableFromInline
  nonisolated(nonsending) internal mutating func waitForMessage(until deadline: Deadline) async throws {
    try Task.checkCancellation()
    if deadline.hasPassed { throw error(.timedOut) }
    guard let seen = try announce() else { return }
    try await unsafe Reactor.wait(storage, base + RingShape.bell, while: seen, until: deadline, patience: patience)
  }

  private var patience: Reactor.Patience {
    .watches(inbox.awaited.map { unsafe Reactor.WatchedWord(RegionWords(base: base), $0) })
  }

  /// What the bell's count must be for a sleep; nil when there is something.
  private mutating func announce() throws(SharedMemoryError) -> UInt32? {
    if storage.isForeign { throw error(.forked) }
    try checkFault()
    let seen = unsafe Bell(words: RegionWords(base: base), offset: RingShape.bell).announce()
    return inbox.hasNext ? nil : seen
  }
}

// SPDX-License-Identifier: Apache-2.0

extension SharedEvent {
  /// Waits for a count other than `seen`, suspending the task. No thread of the cooperative pool is blocked.
  ///
  /// - Returns: the new count.
  /// - Throws: as the blocking form, and `CancellationError`.
  nonisolated(nonsending)
    public func wait(after seen: UInt32, until deadline: Deadline = .never) async throws -> UInt32
  {
    while true {
      let now = count
      if now != seen { return now }
      try check()
      if deadline.hasPassed { throw SharedMemoryError(.timedOut, "wait for an event of", region: storage.name) }
      Sleepers(words: words, offset: 0).announce(seen)
      // What it waits for is the word that the thread sleeps on.
      try await unsafe Reactor.wait(storage, words.base, while: seen, until: deadline, patience: .watches([]))
    }
  }
}

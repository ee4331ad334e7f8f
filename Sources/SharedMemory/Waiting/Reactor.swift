// SPDX-License-Identifier: Apache-2.0
//
// How tasks wait for words of shared memory without a thread each: one thread sleeps on the words of up to 127 of them (futex_waitv), and on a
// word of its own that says that there is something new. It is started by the first wait, and sleeps without a deadline while nobody waits.
//
// Whoever waits has announced itself to the other processes before (see Sleepers), with the value of the count that it has seen, so a ring between that
// look and the thread's sleep is not missed: the kernel compares. Who was killed between making something and waking is not waited for
// longer than a quarter of a second: then the thread looks at the words that would have changed, of all its waits at once, and the tasks sleep on. Where words
// do not tell (a follower's death makes room as well) it is the task that looks, and its wait ends for no reason.

internal import CPlatform
internal import MemoryMapping
internal import Synchronization
internal import SystemPackage

/// The threads of this process that wait for its tasks. They live as long as the process.
internal enum Reactor {
  internal enum Outcome: Sendable {
    /// The word changed, or the wait ended for no reason.
    case woken
    case cancelled
  }

  /// How long a wait may trust that whoever makes something also wakes.
  internal enum Patience {
    /// After a while the wait ends for no reason.
    case ends
    /// After a while these words are looked at: as long as each has its value, there is nothing.
    case watches([WatchedWord])
  }

  @safe
  internal struct WatchedWord {
    private let word: UnsafeMutablePointer<Atomic<UInt64>>
    private let value: UInt64

    /// A word of a region that stays mapped while the wait lasts.
    internal init(_ words: RegionWords, _ awaited: AwaitedWord) {
      unsafe word = (words.base + awaited.offset).assumingMemoryBound(to: Atomic<UInt64>.self)
      value = awaited.value
    }

    internal var isChanged: Bool { unsafe word.pointee.load(ordering: .acquiring) != value }
  }

  /// What is done when a wait is over.
  @safe
  fileprivate enum Action {
    case resume(UnsafeContinuation<Outcome, Never>)
    case signal(ReadinessDescriptor.Storage)
  }

  @safe
  fileprivate struct Wait: @unchecked Sendable {
    let identifier: UInt64
    /// Keeps the word mapped.
    let storage: RegionStorage
    let word: UnsafeMutablePointer<Atomic<UInt32>>
    let seen: UInt32
    let deadline: Deadline
    let patience: Patience
    let action: Action
    /// When its patience ends, or the deadline comes.
    private(set) var look: Deadline

    init(
      _ identifier: UInt64, _ storage: RegionStorage, _ word: UnsafeMutableRawPointer, while seen: UInt32,
      until deadline: Deadline, patience: Patience, action: Action
    ) {
      self.identifier = identifier
      self.storage = storage
      unsafe self.word = unsafe word.assumingMemoryBound(to: Atomic<UInt32>.self)
      self.seen = seen
      self.deadline = deadline
      self.patience = patience
      self.action = action
      look = min(deadline, .after(RegionWords.patience))
    }

    /// - Parameter looks: whether somebody's patience has ended.
    func isOver(_ now: Deadline, looks: Bool) -> Bool {
      if unsafe word.pointee.load(ordering: .acquiring) != seen || deadline <= now { return true }
      guard looks else { return false }
      return switch patience {
      case .ends: look <= now
      case .watches(let words): storage.range.flag.isRaised || words.contains { $0.isChanged }
      }
    }

    /// Waits on after a look.
    mutating func lookLater() {
      if case .watches = patience { look = min(deadline, .after(RegionWords.patience)) }
    }

    func finish(_ outcome: Outcome) {
      switch action {
      case .resume(let continuation): unsafe continuation.resume(returning: outcome)
      case .signal(let descriptor): if outcome == .woken { descriptor.signal() }
      }
    }
  }

  fileprivate struct State: ~Copyable {
    var threads: [ReactorThread] = []
    /// Of each thread.
    var waits: [[Wait]] = []
    /// What was cancelled before it began.
    var early: Set<UInt64> = []
    /// The fork after which the first thread was started: a child has none of its parent's threads.
    var generation: UInt64 = 0
  }

  fileprivate static let state = Mutex(State())
  fileprivate static let waitLimit = Int(PGW_WORDS_LIMIT) - 1
  private static let identifiers = Atomic<UInt64>(1)

  internal static func newIdentifier() -> UInt64 { identifiers.wrappingAdd(1, ordering: .relaxed).oldValue }

  /// Suspends the task until the word may no longer be `seen`, or the deadline.
  ///
  /// - Throws: `CancellationError`; ``SharedMemoryError``: `memoryExhausted` when no thread can be had.
  internal nonisolated(nonsending) static func wait(
    _ storage: RegionStorage, _ word: UnsafeMutableRawPointer, while seen: UInt32, until deadline: Deadline,
    patience: Patience
  ) async throws {
    try Task.checkCancellation()
    let identifier = newIdentifier()
    try start()
    let outcome = await withTaskCancellationHandler {
      unsafe await withUnsafeContinuation { continuation in
        unsafe add(
          Wait(
            identifier, storage, word, while: seen, until: deadline, patience: patience, action: .resume(continuation)))
      }
    } onCancel: {
      cancel(identifier)
    }
    if outcome == .cancelled || Task.isCancelled {
      // A cancellation may have come when the wait was over.
      state.withLock { _ = $0.early.remove(identifier) }
      throw CancellationError()
    }
  }

  /// Signals a descriptor once, when the word may no longer be `seen`. It waits for one thing at a time.
  internal static func signal(
    _ descriptor: ReadinessDescriptor.Storage, _ storage: RegionStorage, _ word: UnsafeMutableRawPointer,
    while seen: UInt32, patience: Patience
  ) throws(SharedMemoryError) -> Arming {
    try start()
    let arming = Arming(descriptor)
    disarm(descriptor)
    unsafe add(
      Wait(
        descriptor.identifier, storage, word, while: seen, until: .never, patience: patience,
        action: .signal(descriptor)))
    return arming
  }

  internal static func disarm(_ descriptor: ReadinessDescriptor.Storage) {
    cancel(descriptor.identifier)
    state.withLock { _ = $0.early.remove(descriptor.identifier) }
  }

  /// Starts the first thread.
  private static func start() throws(SharedMemoryError) {
    let generation = pgw_fork_generation()
    let (isThere, isForeign) = state.withLock { state in
      if state.threads.isEmpty { state.generation = generation }
      return (!state.threads.isEmpty || begin(&state), state.generation != generation)
    }
    if isForeign { throw SharedMemoryError(.forked, "wait for a region", note: "tasks wait in no forked child") }
    guard isThere else { throw .last("wait for a region", note: "no thread can be had") }
  }

  private static func begin(_ state: inout State) -> Bool {
    let thread = ReactorThread(index: state.threads.count)
    guard thread.start() else { return false }
    state.threads.append(thread)
    state.waits.append([])
    return true
  }

  private static func add(_ wait: Wait) {
    let isCancelled = state.withLock { state in
      if state.early.remove(wait.identifier) != nil { return true }
      var index = state.waits.firstIndex { $0.count < waitLimit }
      if index == nil, begin(&state) { index = state.threads.count - 1 }
      // Without another thread the first one has more than the kernel takes at once, and looks at them by turns.
      state.waits[index ?? 0].append(wait)
      state.threads[index ?? 0].tell()
      return false
    }
    if isCancelled { wait.finish(.cancelled) }
  }

  /// Ends a wait, also one that has not begun.
  private static func cancel(_ identifier: UInt64) {
    let found = state.withLock { state -> Wait? in
      for thread in state.waits.indices {
        guard let index = state.waits[thread].firstIndex(where: { $0.identifier == identifier }) else { continue }
        // So that the thread lets go of the region.
        state.threads[thread].tell()
        return state.waits[thread].remove(at: index)
      }
      state.early.insert(identifier)
      return nil
    }
    found?.finish(.cancelled)
  }
}

/// One of the threads.
@safe
internal final class ReactorThread: @unchecked Sendable {
  private let index: Int
  /// Counts what is new for the thread, which sleeps on it.
  private let news: UnsafeMutablePointer<Atomic<UInt32>>

  internal init(index: Int) {
    self.index = index
    unsafe news = .allocate(capacity: 1)
    unsafe news.initialize(to: Atomic(0))
  }

  internal func start() -> Bool {
    // It holds itself for ever.
    unsafe pgw_worker_start(
      { argument in
        guard let argument = unsafe argument else { return }
        unsafe Unmanaged<ReactorThread>.fromOpaque(argument).takeUnretainedValue().run()
      }, unsafe Unmanaged.passRetained(self).toOpaque()) != nil
  }

  /// Has it look at its waits again.
  internal func tell() {
    unsafe news.pointee.wrappingAdd(1, ordering: .releasing)
    _ = unsafe pgw_word_wake(UnsafeRawPointer(news).assumingMemoryBound(to: UInt32.self), 1)
  }

  private func run() {
    while true {
      // Before the look: what comes after it is seen, or the sleep does not begin.
      let heard = unsafe news.pointee.load(ordering: .acquiring)
      let (over, left) = Reactor.state.withLock { state in
        let now = Deadline.after(.zero)
        // One look for all of them: many idle tasks wake the thread no more often than one.
        let looks = state.waits[index].contains { $0.look <= now }
        var over: [Reactor.Wait] = []
        state.waits[index].removeAll { wait in
          let isOver = wait.isOver(now, looks: looks)
          if isOver { over.append(wait) }
          return isOver
        }
        if looks { for place in state.waits[index].indices { state.waits[index][place].lookLater() } }
        return (over, state.waits[index])
      }
      for wait in over { wait.finish(.woken) }
      if over.isEmpty { sleep(left, heard) }
    }
  }

  private func sleep(_ waits: [Reactor.Wait], _ heard: UInt32) {
    let own = unsafe UnsafeRawPointer(news).assumingMemoryBound(to: UInt32.self)
    guard !waits.isEmpty else {
      _ = unsafe pgw_word_wait(own, heard, .max)
      return
    }
    var entries = unsafe [pgw_word_wait_entry(word: own, expected: heard)]
    for wait in waits.prefix(Reactor.waitLimit) {
      let word = unsafe UnsafeRawPointer(wait.word).assumingMemoryBound(to: UInt32.self)
      unsafe entries.append(pgw_word_wait_entry(word: word, expected: wait.seen))
    }
    var end = waits.reduce(Deadline.never) { min($0, $1.look) }
    if waits.count > Reactor.waitLimit { end = min(end, .after(.milliseconds(1))) }
    let result = unsafe entries.withUnsafeBufferPointer {
      unsafe pgw_words_wait($0.baseAddress, CInt($0.count), end.nanoseconds)
    }
    guard result != 0 else { return }
    switch Errno.current {
    case .resourceTemporarilyUnavailable, .timedOut, .interrupted: break
    // A kernel without this call (before Linux 5.16; Darwin): the words are looked at a thousand times a second.
    default: Deadline.nap(min(end, .after(.milliseconds(1))))
    }
  }
}

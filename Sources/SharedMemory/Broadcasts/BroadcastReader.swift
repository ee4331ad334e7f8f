// SPDX-License-Identifier: Apache-2.0

/// A receiving end of a broadcast channel.
///
/// ```swift
/// var ticks = try region.broadcastReader(of: "ticks", from: .latest(10))
/// while true {
///   try ticks.receive { bytes, message in
///     if message.lostBefore > 0 { report(message.lostBefore) }
///     handle(bytes)
///   }
/// }
/// ```
///
/// Each reader sees all messages from where it began, at its own pace. One that is too slow loses the oldest, and learns from the next message exactly
/// how many; it goes on in the middle of what is left, so that it does not lose that as well. A reader `losing: .nothing` is a follower: the writer waits for it.
///
/// Messages are copied out before they are shown: the writer may overwrite them at any moment.
///
/// One thread at a time uses it. In a forked child it throws `forked`.
@safe
public struct BroadcastReader: ~Copyable, @unchecked Sendable {
  /// Where a reader begins.
  public enum Start: Sendable, Hashable {
    /// With the next message that is sent.
    case next
    /// With so many of the last messages, or as many as are left of them.
    case latest(Int)
    /// With the oldest that is left.
    public static var oldest: Start { .latest(.max) }
  }

  /// What a reader that is too slow loses.
  public enum Loss: Sendable, Hashable {
    /// The oldest messages.
    case oldest
    /// Nothing: the writer waits for it.
    case nothing
  }

  /// A message's header.
  public struct Message: Sendable, Hashable {
    /// The sender's affair.
    public let type: UInt16
    /// 1 for the channel's first message, then one more each time, whoever sends.
    public let number: UInt64
    /// How many messages this reader has lost between the one before and this one.
    public let lostBefore: UInt64
  }

  internal let storage: RegionStorage
  private let part: String
  private let distrusts: Bool
  /// After a peer of a distrusting reader has broken the protocol.
  private var isPoisoned = false
  private let shape: BroadcastShape
  internal let words: RegionWords
  internal var inbox: BroadcastInbox<RegionWords>
  /// The offset of its place's token; nil for a reader that loses the oldest.
  private let place: Int?
  private var spins = SpinRecord()
  /// The descriptor that tells of its messages.
  internal var arming: Arming? = nil
  /// Messages are copied here.
  private var copy = Scratch()
  /// The message that is in it.
  private var open = BroadcastPlace.none
  /// Where it was when it gave back for the last time.
  private var settled: Mark? = nil
  /// Of the last message that was received, and of the one before the first.
  private var lastNumber: UInt64
  /// How many messages this reader has lost.
  public private(set) var lostCount: UInt64 = 0

  internal init(
    _ storage: RegionStorage, part: String, shape: BroadcastShape, offset: Int, from start: Start, losing loss: Loss,
    distrusts: Bool
  ) throws(SharedMemoryError) {
    let words = unsafe RegionWords(base: storage.base + offset)
    var inbox = BroadcastInbox(words: words, shape: shape)
    let begin: BroadcastInbox<RegionWords>.Start =
      switch start {
      case .next: .next
      case .latest(let count): .latest(count)
      }
    var place: Int? = nil
    var beginning = BroadcastInbox<RegionWords>.Beginning.overtaken
    var attempts = Attempts(free: 10)
    switch loss {
    case .oldest: while beginning == .overtaken, attempts.next() { beginning = inbox.begin(begin) }
    case .nothing:
      let free = (0..<shape.followerLimit).first { OwnerWord.take(words, shape.place($0), storage) }
      guard let free else {
        throw SharedMemoryError(
          .taken, "follow", region: storage.name, part: part, note: "it has room for \(shape.followerLimit) followers")
      }
      place = shape.place(free)
      while beginning == .overtaken, attempts.next() { beginning = inbox.follow(free, begin) }
      if beginning != .found { OwnerWord.leave(words, shape.place(free), storage) }
    }
    switch beginning {
    case .found: break
    case .overtaken: throw Self.overtaken(storage, part)
    case .damaged:
      throw SharedMemoryError(
        .peerMisbehaved, "receive from", region: storage.name, part: part, note: "no beginning of a message was found")
    }
    self.storage = storage
    self.part = part
    self.distrusts = distrusts
    self.shape = shape
    self.words = words
    self.place = place
    lastNumber = inbox.number &- 1
    self.inbox = inbox
  }

  deinit {
    guard let place, !storage.isForeign else { return }
    OwnerWord.leave(words, place, storage)
    Bell(words: words, offset: BroadcastShape.room).ring()
  }

  /// Receives one message, waiting for it.
  ///
  /// A reader of a region that it may only look at cannot be woken: it looks each 5 ms.
  ///
  /// - Parameters:
  ///   - deadline: until when to wait.
  ///   - body: reads a copy of the message. The span cannot leave it.
  /// - Returns: what `body` returns.
  /// - Throws: ``SharedMemoryError``: `timedOut`, `peerMisbehaved`, `faulted`, `forked`. What `body` throws: then the message was not received, and comes again
  ///   unless it is lost meanwhile.
  @available(*, noasync, message: "it blocks the thread")
  @inlinable
  public mutating func receive<R>(until deadline: Deadline = .never, _ body: (RawSpan, Message) throws -> R) throws -> R
  {
    try awaitMessage(until: deadline)
    // What was there can be lost before it is copied; then there is something newer.
    while true {
      if let result = try receiveNow(until: deadline, body) { return result }
      try awaitMessage(until: deadline)
    }
  }

  /// Receives one message if there is one now; nil when there is none.
  ///
  /// - Throws: as `receive(until:_:)`; `timedOut` when the writer was faster than the copy again and again.
  @inlinable
  public mutating func tryReceive<R>(_ body: (RawSpan, Message) throws -> R) throws -> R? {
    try receiveNow(until: .now, body)
  }

  /// Nil also when the writer was too fast and the deadline has not passed.
  @inlinable
  @inline(__always)
  internal mutating func receiveNow<R>(until deadline: Deadline, _ body: (RawSpan, Message) throws -> R) throws -> R? {
    guard let message = try find(until: deadline) else { return nil }
    let result = try body(found, message)
    finish(message)
    return result
  }

  // Compiled into the callers is what has type parameters; what it is made of is not.

  /// Finds the next message and copies it; nil when there is none, or the writer was too fast and the deadline has not passed.
  @usableFromInline
  internal mutating func find(until deadline: Deadline) throws(SharedMemoryError) -> Message? {
    guard let (place, message) = try take(until: deadline) else { return nil }
    open = place
    return message
  }

  /// The message that was found last.
  @usableFromInline
  internal var found: RawSpan {
    @_lifetime(borrow self)
    get {
      let span = unsafe RawSpan(_unsafeStart: copy.start, byteCount: open.byteCount)
      return unsafe _overrideLifetime(span, borrowing: self)
    }
  }

  /// The message that was found last was received.
  @usableFromInline
  internal mutating func finish(_ message: Message) {
    finish(open, message)
    inbox.giveBack()
  }

  /// Receives up to `limit` messages, waiting for the first one only. A follower gives their room back once, after the last.
  ///
  /// - Returns: how many there were.
  /// - Throws: as `receive(until:_:)`; if `body` throws, a follower has received none of them, and all come again; another reader goes on with the one at
  ///   which it threw.
  @available(*, noasync, message: "it blocks the thread")
  @discardableResult
  public mutating func receive(
    upTo limit: Int, until deadline: Deadline = .never, _ body: (RawSpan, Message) throws -> Void
  ) throws -> Int {
    while true {
      let count = try receiveNow(upTo: limit, until: deadline, body)
      if count > 0 { return count }
      try awaitMessage(until: deadline)
    }
  }

  /// Receives up to `limit` messages that are there now. How many there were.
  ///
  /// - Throws: as `receive(upTo:until:_:)`; `timedOut` when the writer was faster than the copy again and again.
  public mutating func tryReceive(upTo limit: Int, _ body: (RawSpan, Message) throws -> Void) throws -> Int {
    try receiveNow(upTo: limit, until: .now, body)
  }

  /// None also when the writer was too fast and the deadline has not passed.
  internal mutating func receiveNow(
    upTo limit: Int, until deadline: Deadline, _ body: (RawSpan, Message) throws -> Void
  ) throws -> Int {
    precondition(limit > 0, "BroadcastReader.receive: a batch has room for a message")
    let mark = here
    let count: Int
    do { count = try take(upTo: limit, until: deadline, body) } catch {
      if place != nil { goBack(to: mark) }
      throw error
    }
    inbox.giveBack()
    return count
  }

  /// Shows messages that are there now, and does not give a follower's room back. If it throws, the next one is that at which it threw.
  internal mutating func take(
    upTo limit: Int, until deadline: Deadline, _ body: (RawSpan, Message) throws -> Void
  ) throws -> Int {
    var count = 0
    while count < limit, let (place, message) = try take(until: deadline) {
      open = place
      try body(found, message)
      finish(place, message)
      count += 1
    }
    return count
  }

  /// How far it has come.
  private struct Mark {
    let position: UInt64
    let number: UInt64
    let lastNumber: UInt64
    let lostCount: UInt64
  }

  private var here: Mark {
    Mark(position: inbox.position, number: inbox.number, lastNumber: lastNumber, lostCount: lostCount)
  }

  private mutating func goBack(to mark: Mark) {
    inbox.rewind(to: mark.position, number: mark.number)
    (lastNumber, lostCount) = (mark.lastNumber, mark.lostCount)
  }

  /// All that was taken was received. For a follower its room is the writer's again.
  internal mutating func giveBack() {
    if storage.isForeign { return }
    inbox.giveBack()
    settled = here
  }

  /// Begins again after what was given back last.
  internal mutating func rewind() {
    if let settled { goBack(to: settled) }
  }

  private mutating func finish(_ place: BroadcastPlace, _ message: Message) {
    inbox.advance(past: place)
    lastNumber = place.number
    lostCount &+= message.lostBefore
  }

  /// The next message, copied; nil when there is none, or the writer was too fast and the deadline has not passed.
  private mutating func take(until deadline: Deadline) throws(SharedMemoryError) -> (BroadcastPlace, Message)? {
    if storage.isForeign { throw error(.forked) }
    if isPoisoned { throw error(.peerMisbehaved) }
    var attempts = Attempts(free: 10)
    while attempts.next() {
      switch inbox.next() {
      case .empty:
        try storage.checkFault("receive from")
        return nil
      case .damaged: throw damage()
      case .lost: break
      case .message(let found):
        copyOut(found)
        guard inbox.isStill(found) else { break }
        try storage.checkFault("receive from")
        let lost = found.number &- lastNumber &- 1
        return (found, Message(type: found.type, number: found.number, lostBefore: lost))
      }
      switch inbox.begin(.middle) {
      case .found: break
      case .overtaken: continue
      case .damaged: throw damage()
      }
      // The numbers of a channel only grow.
      guard inbox.number > lastNumber else { throw damage() }
    }
    guard deadline.hasPassed else {
      Deadline.nap(.after(.microseconds(10)))
      return nil
    }
    throw Self.overtaken(storage, part)
  }

  @inline(never)
  private static func overtaken(_ storage: RegionStorage, _ part: String) -> SharedMemoryError {
    SharedMemoryError(
      .timedOut, "receive from", region: storage.name, part: part,
      note: "the writer was faster in every attempt; give the channel more capacity")
  }

  private mutating func copyOut(_ place: BroadcastPlace) {
    let count = (place.byteCount + 7) / 8
    let start = unsafe copy.room(count * 8)
    for index in 0..<count {
      unsafe start.storeBytes(of: inbox.load(index, of: place), toByteOffset: index &* 8, as: UInt64.self)
    }
  }

  @inline(never)
  @usableFromInline
  internal mutating func awaitMessage(until deadline: Deadline) throws(SharedMemoryError) {
    if storage.isForeign { throw error(.forked) }
    guard case .empty = inbox.next() else { return }
    let limit = deadline == .now ? 0 : spins.limit
    var (round, slept) = (0, false)
    while case .empty = inbox.next() {
      round += 1
      if words.spin(round, of: limit) { continue }
      try storage.checkFault("receive from")
      if deadline.hasPassed { throw error(.timedOut) }
      slept = true
      if storage.canWrite {
        inbox.awaitMessage(until: deadline)
      } else {
        Deadline.nap(min(deadline, .after(.milliseconds(5))))
      }
    }
    spins.count(slept: slept)
  }

  @inline(never)
  internal func error(_ code: SharedMemoryError.Code) -> SharedMemoryError {
    SharedMemoryError(code, "receive from", region: storage.name, part: part)
  }

  @inline(never)
  private mutating func damage() -> SharedMemoryError {
    isPoisoned = distrusts
    return SharedMemoryError(
      .peerMisbehaved, "receive from", region: storage.name, part: part, note: "it holds impossible numbers")
  }
}

extension SharedRegion {
  /// A receiving end of a broadcast channel.
  ///
  /// - Parameters:
  ///   - name: the part.
  ///   - start: where to begin.
  ///   - loss: what to lose when it is too slow.
  /// - Throws: ``SharedMemoryError``: `taken` when all places for followers belong to living ones, `noSuchPart`, `layoutDiffers`,
  ///   `timedOut` when the writer was faster in every attempt to find a beginning, `forked`.
  public borrowing func broadcastReader(
    of name: String, from start: BroadcastReader.Start = .next, losing loss: BroadcastReader.Loss = .oldest
  ) throws(SharedMemoryError) -> BroadcastReader {
    let (shape, offset) = try storage.broadcast(name, "receive from")
    return try BroadcastReader(
      storage, part: name, shape: shape, offset: offset, from: start, losing: loss, distrusts: distrustsPeers)
  }
}

extension SharedRegionReader {
  /// A receiving end of a broadcast channel, that loses the oldest messages when it is too slow.
  ///
  /// - Throws: ``SharedMemoryError``: `noSuchPart`, `layoutDiffers`, `timedOut` when the writer was faster in every attempt to find a beginning.
  public borrowing func broadcastReader(
    of name: String, from start: BroadcastReader.Start = .next
  ) throws(SharedMemoryError) -> BroadcastReader {
    let (shape, offset) = try storage.broadcast(name, "receive from")
    return try BroadcastReader(
      storage, part: name, shape: shape, offset: offset, from: start, losing: .oldest, distrusts: false)
  }
}

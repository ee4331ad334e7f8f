// SPDX-License-Identifier: Apache-2.0

/// The receiving end of a ring channel.
///
/// ```swift
/// var orders = try region.consumer(of: "orders")
/// while true {
///   try orders.receive { bytes, type in handle(bytes) }                 // one message, read in place
///   try orders.receive(upTo: 64) { bytes, type in handle(bytes) }       // up to 64 that are there
/// }
/// ```
///
/// Messages are lent: the span shows the region's own bytes until the closure returns, then their room is the producer's again. A consumer that is killed before
/// has received nothing: the next one, which takes over at once by proof of its death, is given the same messages again. So each message is received at least once,
/// and once exactly as long as nobody is killed in between.
///
/// One thread at a time uses it. In a forked child it throws `forked`.
@safe
public struct RingConsumer: ~Copyable, @unchecked Sendable {
  private let storage: RegionStorage
  private let part: String
  private let shape: RingShape
  private let base: UnsafeMutableRawPointer
  private var inbox: RingInbox<RegionWords>

  internal init(_ storage: RegionStorage, part: String, shape: RingShape, offset: Int) throws(SharedMemoryError) {
    let base = unsafe storage.base + offset
    let words = unsafe RegionWords(base: base)
    guard OwnerWord.take(words, RingShape.consumer, storage) else {
      throw SharedMemoryError(.taken, "receive from", region: storage.name, part: part, note: "it has one consumer")
    }
    guard let inbox = RingInbox(words: words, shape: shape) else {
      _ = words.compareExchange(storage.token.rawValue, 0, RingShape.consumer, "ring.leave")
      throw SharedMemoryError(
        .peerMisbehaved, "receive from", region: storage.name, part: part, note: "a lane holds impossible numbers")
    }
    self.storage = storage
    self.part = part
    self.shape = shape
    unsafe self.base = unsafe base
    self.inbox = inbox
  }

  deinit {
    guard !storage.isForeign else { return }
    let words = unsafe RegionWords(base: base)
    _ = words.compareExchange(storage.token.rawValue, 0, RingShape.consumer, "ring.leave")
  }

  /// How many producers can send at once.
  public var producerLimit: Int { shape.laneCount }

  /// Receives one message, waiting for it.
  ///
  /// - Parameters:
  ///   - deadline: until when to wait.
  ///   - body: reads the message in place. The span cannot leave it.
  /// - Returns: what `body` returns.
  /// - Throws: ``SharedMemoryError``: `timedOut`, `peerMisbehaved`, `faulted`, `forked`. What `body` throws: then the message was not received, and comes again.
  @available(*, noasync, message: "it blocks the thread")
  public mutating func receive<R>(until deadline: Deadline = .never, _ body: (RawSpan, _ type: UInt16) throws -> R)
    throws -> R
  {
    guard let result = try take(until: deadline, body) else { throw error(.timedOut) }
    return result
  }

  /// Receives one message if there is one now; nil when there is none.
  public mutating func tryReceive<R>(_ body: (RawSpan, _ type: UInt16) throws -> R) throws -> R? {
    try take(until: .now, body)
  }

  /// Receives up to `limit` messages, waiting for the first one only. Their room is given back once, after the last.
  ///
  /// - Returns: how many there were.
  /// - Throws: as ``receive(until:_:)``; if `body` throws, none of them was received, and all come again.
  @available(*, noasync, message: "it blocks the thread")
  @discardableResult
  public mutating func receive(
    upTo limit: Int, until deadline: Deadline = .never, _ body: (RawSpan, _ type: UInt16) throws -> Void
  ) throws -> Int {
    precondition(limit > 0, "RingConsumer.receive: a batch has room for a message")
    let count = try takeBatch(limit, until: deadline, body)
    if count == 0 { throw error(.timedOut) }
    return count
  }

  /// Receives up to `limit` messages that are there now. How many there were.
  public mutating func tryReceive(upTo limit: Int, _ body: (RawSpan, _ type: UInt16) throws -> Void) throws -> Int {
    precondition(limit > 0, "RingConsumer.tryReceive: a batch has room for a message")
    return try takeBatch(limit, until: .now, body)
  }

  @inline(__always)
  private mutating func take<R>(until deadline: Deadline, _ body: (RawSpan, UInt16) throws -> R) throws -> R? {
    if storage.isForeign { throw error(.forked) }
    switch inbox.next(until: deadline) {
    case .message(let offset, let byteCount, let type, _):
      let result: R
      do { result = try body(unsafe RawSpan(_unsafeStart: base + offset, byteCount: byteCount), type) } catch {
        inbox.rewind()
        throw error
      }
      try checkFault()
      inbox.consume()
      return result
    case .nothing:
      try checkFault()
      return nil
    case .damaged(let lane): throw damage(lane)
    }
  }

  private mutating func takeBatch(
    _ limit: Int, until deadline: Deadline, _ body: (RawSpan, UInt16) throws -> Void
  ) throws -> Int {
    if storage.isForeign { throw error(.forked) }
    var count = 0
    var found = inbox.next(until: deadline)
    while true {
      switch found {
      case .message(let offset, let byteCount, let type, _):
        do { try body(unsafe RawSpan(_unsafeStart: base + offset, byteCount: byteCount), type) } catch {
          inbox.rewind()
          throw error
        }
        count += 1
      case .nothing:
        try finish()
        return count
      case .damaged(let lane):
        // Those before it are whole; the damage is met again.
        if count == 0 { throw damage(lane) }
        try finish()
        return count
      }
      if count == limit {
        try finish()
        return count
      }
      found = inbox.poll()
    }
  }

  private mutating func finish() throws {
    do { try checkFault() } catch {
      inbox.rewind()
      throw error
    }
    inbox.consume()
  }

  @inline(__always)
  private func checkFault() throws(SharedMemoryError) { try storage.checkFault("receive from") }

  @inline(never)
  private func error(_ code: SharedMemoryError.Code) -> SharedMemoryError {
    SharedMemoryError(code, "receive from", region: storage.name, part: part)
  }

  @inline(never)
  private func damage(_ lane: Int) -> SharedMemoryError {
    SharedMemoryError(
      .peerMisbehaved, "receive from", region: storage.name, part: part, note: "lane \(lane) holds impossible numbers")
  }
}

extension SharedRegion {
  /// The receiving end of a ring channel, for as long as the value lives.
  ///
  /// - Throws: ``SharedMemoryError``: `taken` while a living consumer has it, `noSuchPart`, `layoutDiffers`, `forked`.
  public borrowing func consumer(of name: String) throws(SharedMemoryError) -> RingConsumer {
    let (shape, offset) = try storage.ring(name, "receive from")
    return try RingConsumer(storage, part: name, shape: shape, offset: offset)
  }
}

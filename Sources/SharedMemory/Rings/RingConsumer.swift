// SPDX-License-Identifier: Apache-2.0

internal import CPlatform
internal import MemoryMapping

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
  internal let storage: RegionStorage
  private let part: String
  private let shape: RingShape
  internal let base: UnsafeMutableRawPointer
  internal var inbox: RingInbox<RegionWords>
  private let distrusts: Bool
  /// After a peer of a distrusting consumer has broken the protocol.
  private var isPoisoned = false
  /// A distrusting consumer's messages are copied here before anybody looks at them.
  private var copy = Scratch()
  /// The descriptor that tells of its messages.
  internal var arming: Arming? = nil
  /// As the storage has them, one load nearer.
  private let generation: UInt64
  private let flag: FaultFlag

  internal init(
    _ storage: RegionStorage, part: String, shape: RingShape, offset: Int, distrusts: Bool
  ) throws(SharedMemoryError) {
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
    self.distrusts = distrusts
    generation = storage.generation
    flag = storage.range.flag
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
  /// Behind a sender that does not pause it looks for new messages up to some microseconds later, which halves the price of a message for both.
  /// ``tryReceive(_:)`` always looks at once.
  ///
  /// - Parameters:
  ///   - deadline: until when to wait.
  ///   - body: reads the message in place. The span cannot leave it.
  /// - Returns: what `body` returns.
  /// - Throws: ``SharedMemoryError``: `timedOut`, `peerMisbehaved`, `faulted`, `forked`. What `body` throws: then the message was not received, and comes again.
  @available(*, noasync, message: "it blocks the thread")
  @inlinable
  public mutating func receive<R>(until deadline: Deadline = .never, _ body: (RawSpan, _ type: UInt16) throws -> R)
    throws -> R
  {
    let found = try find(until: deadline)
    let result = try read(found, body)
    try finish()
    return result
  }

  /// Receives one message if there is one now; nil when there is none.
  @inlinable
  public mutating func tryReceive<R>(_ body: (RawSpan, _ type: UInt16) throws -> R) throws -> R? {
    guard let found = try find() else { return nil }
    let result = try read(found, body)
    try finish()
    return result
  }

  /// Receives up to `limit` messages, waiting for the first one only. Their room is given back once, after the last.
  ///
  /// - Returns: how many there were.
  /// - Throws: as `receive(until:_:)`; if `body` throws, none of them was received, and all come again.
  @available(*, noasync, message: "it blocks the thread")
  @discardableResult
  @inlinable
  public mutating func receive(
    upTo limit: Int, until deadline: Deadline = .never, _ body: (RawSpan, _ type: UInt16) throws -> Void
  ) throws -> Int {
    try receive(upTo: limit, until: deadline, body, settle: {})
  }

  /// Receives up to `limit` messages, as `receive(upTo:until:_:)`, for whoever passes a batch on in one piece: their room is given back once `settle`
  /// has returned.
  ///
  /// - Parameters:
  ///   - limit: at least 1.
  ///   - deadline: until when to wait for the first.
  ///   - body: reads each message in place. The span cannot leave it.
  ///   - settle: runs once after the last message, and makes the batch safe. If it throws, none of them was received, and all come again.
  /// - Returns: how many there were.
  /// - Throws: as `receive(upTo:until:_:)`, or what `settle` throws.
  @available(*, noasync, message: "it blocks the thread")
  @discardableResult
  @inlinable
  public mutating func receive(
    upTo limit: Int, until deadline: Deadline = .never, _ body: (RawSpan, _ type: UInt16) throws -> Void,
    settle: () throws -> Void
  ) throws -> Int {
    precondition(limit > 0, "RingConsumer.receive: a batch has room for a message")
    return try readBatch(limit, from: find(until: deadline), body, settle: settle)
  }

  /// Receives up to `limit` messages that are there now. How many there were.
  @inlinable
  public mutating func tryReceive(upTo limit: Int, _ body: (RawSpan, _ type: UInt16) throws -> Void) throws -> Int {
    precondition(limit > 0, "RingConsumer.tryReceive: a batch has room for a message")
    guard let first = try find() else { return 0 }
    return try readBatch(limit, from: first, body, settle: {})
  }

  // The generic forms above are compiled into their callers. What they are made of is not, and has no type parameters.

  /// A message that was found: in the region, or a distrusting consumer's copy of it. It stays until `finish` or `rewind`.
  @usableFromInline
  @safe
  internal struct Found {
    @usableFromInline internal let start: UnsafeRawPointer
    @usableFromInline internal let byteCount: Int
    @usableFromInline internal let type: UInt16
  }

  /// Has `body` see what was found. If it throws, that comes again.
  @inlinable
  @inline(__always)
  internal mutating func read<R>(_ found: Found, _ body: (RawSpan, UInt16) throws -> R) throws -> R {
    do {
      return try body(unsafe RawSpan(_unsafeStart: found.start, byteCount: found.byteCount), found.type)
    } catch {
      rewind()
      throw error
    }
  }

  @inlinable
  @inline(__always)
  internal mutating func readBatch(
    _ limit: Int, from first: Found, _ body: (RawSpan, UInt16) throws -> Void, settle: () throws -> Void
  ) throws -> Int {
    var count = 1
    try read(first, body)
    while count < limit, let found = findMore() {
      try read(found, body)
      count &+= 1
    }
    do {
      try checkFault()
      try settle()
    } catch {
      rewind()
      throw error
    }
    giveBack()
    return count
  }

  /// The next message that is there now.
  @usableFromInline
  internal mutating func find() throws(SharedMemoryError) -> Found? {
    try check()
    switch inbox.poll() {
    case .message(let offset, let byteCount, let type, _): return show(offset, byteCount, type)
    case .nothing:
      try checkFault()
      return nil
    case .damaged(let lane): throw damage(lane)
    }
  }

  /// The next message, waiting for it.
  @usableFromInline
  internal mutating func find(until deadline: Deadline) throws(SharedMemoryError) -> Found {
    try check()
    switch inbox.next(until: deadline) {
    case .message(let offset, let byteCount, let type, _): return show(offset, byteCount, type)
    case .nothing:
      try checkFault()
      throw error(.timedOut)
    case .damaged(let lane): throw damage(lane)
    }
  }

  /// One more message for a batch. Nil also where a lane is damaged: those before it are whole, and the damage is met again.
  @usableFromInline
  internal mutating func findMore() -> Found? {
    guard case .message(let offset, let byteCount, let type, _) = inbox.poll() else { return nil }
    return show(offset, byteCount, type)
  }

  /// What was found was received: its room is the producer's again.
  @usableFromInline
  internal mutating func finish() throws(SharedMemoryError) {
    do throws(SharedMemoryError) {
      try check()
      try checkFault()
    } catch {
      rewind()
      throw error
    }
    inbox.consume()
  }

  @inline(__always)
  private mutating func show(_ offset: Int, _ byteCount: Int, _ type: UInt16) -> Found {
    if distrusts {
      let start = unsafe copy.room(byteCount)
      unsafe start.copyMemory(from: base + offset, byteCount: byteCount)
      return unsafe Found(start: UnsafeRawPointer(start), byteCount: byteCount, type: type)
    }
    return unsafe Found(start: UnsafeRawPointer(base + offset), byteCount: byteCount, type: type)
  }

  // What is asked with each message changes nothing, and yet is `mutating`: that passes the consumer's address, where a borrow would copy it.

  @inline(__always)
  private mutating func check() throws(SharedMemoryError) {
    if pgw_fork_generation() != generation { throw error(.forked) }
    if isPoisoned { throw error(.peerMisbehaved) }
  }

  /// Shows messages that are there now and does not give them back. If it throws, what it has shown is to be given back or begun again.
  internal mutating func take(upTo limit: Int, _ body: (RawSpan, UInt16) throws -> Void) throws {
    try check()
    var count = 0
    taking: while count < limit {
      switch inbox.poll() {
      case .message(let offset, let byteCount, let type, _):
        let found = show(offset, byteCount, type)
        try body(unsafe RawSpan(_unsafeStart: found.start, byteCount: byteCount), type)
        count += 1
      case .nothing: break taking
      case .damaged(let lane):
        // Those before it are whole; the damage is met again.
        if count == 0 { throw damage(lane) }
        break taking
      }
    }
    try checkFault()
  }

  /// Gives all that was found back.
  @usableFromInline
  internal mutating func giveBack() {
    if !storage.isForeign { inbox.consume() }
  }

  /// Begins again at the first message that was not given back.
  @usableFromInline
  internal mutating func rewind() { inbox.rewind() }

  @usableFromInline
  internal mutating func checkFault() throws(SharedMemoryError) {
    if flag.isRaised { throw error(.faulted) }
  }

  @inline(never)
  internal mutating func error(_ code: SharedMemoryError.Code) -> SharedMemoryError {
    SharedMemoryError(code, "receive from", region: storage.name, part: part)
  }

  @inline(never)
  private mutating func damage(_ lane: Int) -> SharedMemoryError {
    isPoisoned = distrusts
    return SharedMemoryError(
      .peerMisbehaved, "receive from", region: storage.name, part: part, note: "lane \(lane) holds impossible numbers")
  }
}

extension SharedRegion {
  /// The receiving end of a ring channel, for as long as the value lives.
  ///
  /// - Throws: ``SharedMemoryError``: `taken` while a living consumer has it, `noSuchPart`, `layoutDiffers`, `forked`.
  public borrowing func consumer(of name: String) throws(SharedMemoryError) -> RingConsumer {
    let (shape, offset) = try storage.ring(name, "receive from")
    return try RingConsumer(storage, part: name, shape: shape, offset: offset, distrusts: distrustsPeers)
  }
}

// SPDX-License-Identifier: Apache-2.0

internal import CPlatform
internal import MemoryMapping

/// The sending end of a ring channel: messages of any size up to half its capacity, to one consumer.
///
/// ```swift
/// var orders = try region.producer(of: "orders")
/// try orders.send(bytes)                                  // waits for room
/// if !(try orders.trySend(bytes)) { … }                   // does not
/// try orders.send(upTo: 4096) { span in encode(into: &span) }   // writes in place
/// ```
///
/// A message is sent when its commit is done: one store. A producer that is killed before has sent nothing and leaves nothing to repair; the next one
/// takes its lane over at once, by proof of its death. Messages of one producer arrive in the order of their sending.
///
/// One thread at a time uses it. In a forked child it throws `forked`.
@safe
public struct RingProducer: ~Copyable, @unchecked Sendable {
  internal let storage: RegionStorage
  private let part: String
  internal let shape: RingShape
  internal let base: UnsafeMutableRawPointer
  private let lane: Int
  internal let distrusts: Bool
  /// After a peer of a distrusting producer has broken the protocol.
  private var isPoisoned = false
  /// On the heap, so that a claim can hold it.
  internal let outbox: UnsafeMutablePointer<RingOutbox<RegionWords>>
  /// Of the message that is being written in place.
  private var open = RingLaneProducer<RegionWords>.Place.none
  /// A distrusting producer's messages are written here first, because what a peer could change meanwhile is not lent.
  private var copy = Scratch()
  /// As the storage has them, one load nearer.
  private let generation: UInt64
  private let flag: FaultFlag

  internal init(
    _ storage: RegionStorage, part: String, shape: RingShape, offset: Int, distrusts: Bool
  ) throws(SharedMemoryError) {
    let base = unsafe storage.base + offset
    let words = unsafe RegionWords(base: base)
    guard let lane = Self.claim(words, shape, storage) else {
      throw SharedMemoryError(
        .taken, "send to", region: storage.name, part: part, note: "it has room for \(shape.laneCount) producers")
    }
    guard let outbox = RingOutbox(words: words, shape: shape, lane: lane) else {
      _ = words.compareExchange(storage.token.rawValue, 0, shape.lane(lane) + RingLane.token, "ring.leave")
      throw SharedMemoryError(
        .peerMisbehaved, "send to", region: storage.name, part: part, note: "lane \(lane) holds impossible numbers")
    }
    self.storage = storage
    self.part = part
    self.shape = shape
    self.lane = lane
    self.distrusts = distrusts
    unsafe self.base = unsafe base
    unsafe self.outbox = .allocate(capacity: 1)
    unsafe self.outbox.initialize(to: outbox)
    generation = storage.generation
    flag = storage.range.flag
  }

  /// A lane that nobody has, or a dead one.
  private static func claim(_ words: RegionWords, _ shape: RingShape, _ storage: RegionStorage) -> Int? {
    for lane in 0..<shape.laneCount {
      if OwnerWord.take(words, shape.lane(lane) + RingLane.token, storage) { return lane }
    }
    return nil
  }

  deinit {
    if !storage.isForeign {
      let words = unsafe RegionWords(base: base)
      _ = words.compareExchange(storage.token.rawValue, 0, shape.lane(lane) + RingLane.token, "ring.leave")
      // A consumer that waits may want to know that nobody sends any more.
      Bell(words: words, offset: RingShape.bell).ring()
    }
    unsafe outbox.deinitialize(count: 1)
    unsafe outbox.deallocate()
  }

  /// Bytes of the longest message.
  public var messageLimit: Int { shape.payloadLimit }
  /// Which of the channel's lanes it has.
  public var laneIndex: Int { lane }

  /// Sends a copy of the bytes, waiting for room.
  ///
  /// - Parameters:
  ///   - bytes: 0 to ``messageLimit``.
  ///   - type: the sender's affair.
  ///   - deadline: until when to wait.
  /// - Throws: ``SharedMemoryError``: `timedOut`, `invalidArgument` (too long), `peerMisbehaved`, `faulted`, `forked`. Nothing is sent then.
  /// - Complexity: one copy, and a fence; a call of the kernel only when the consumer sleeps or there is no room.
  @available(*, noasync, message: "it blocks the thread")
  public mutating func send(_ bytes: RawSpan, type: UInt16 = 0, until deadline: Deadline = .never)
    throws(SharedMemoryError)
  {
    guard let place = try reservePlace(bytes.byteCount, until: deadline) else { throw error(.timedOut) }
    commit(place, bytes, type)
    try checkFault()
  }

  /// Sends a copy of the bytes if there is room now.
  ///
  /// - Returns: false when there is none.
  /// - Throws: as `send(_:type:until:)`.
  public mutating func trySend(_ bytes: RawSpan, type: UInt16 = 0) throws(SharedMemoryError) -> Bool {
    guard let place = try reservePlace(bytes.byteCount, until: .now) else { return false }
    commit(place, bytes, type)
    try checkFault()
    return true
  }

  /// Sends a copy of the bytes if there is room now; counts it as dropped otherwise.
  ///
  /// - Returns: false when it was dropped.
  /// - Throws: as `send(_:type:until:)`.
  public mutating func sendOrDrop(_ bytes: RawSpan, type: UInt16 = 0) throws(SharedMemoryError) -> Bool {
    if try trySend(bytes, type: type) { return true }
    let outbox = unsafe outbox
    unsafe outbox.pointee.countDropped()
    return false
  }

  /// Sends what `body` writes in place, without a copy. If it throws, nothing is sent.
  ///
  /// - Parameters:
  ///   - byteCount: room for the message.
  ///   - type: the sender's affair.
  ///   - deadline: until when to wait.
  ///   - body: writes from the front of the span, and returns how many bytes the message has, at most `byteCount`. What it does not write holds old bytes.
  /// - Throws: as `send(_:type:until:)`, or what `body` throws.
  @available(*, noasync, message: "it blocks the thread")
  @inlinable
  public mutating func send(
    upTo byteCount: Int, type: UInt16 = 0, until deadline: Deadline = .never,
    _ body: (inout MutableRawSpan) throws -> Int
  ) throws {
    let start = unsafe try begin(byteCount, until: deadline)
    try unsafe fill(start, byteCount, type, body)
  }

  /// Sends what `body` writes in place if there is room now.
  ///
  /// - Returns: false when there is none; `body` was not called then.
  /// - Throws: as ``send(upTo:type:until:_:)``.
  @inlinable
  public mutating func trySend(
    upTo byteCount: Int, type: UInt16 = 0, _ body: (inout MutableRawSpan) throws -> Int
  ) throws -> Bool {
    guard let start = unsafe try begin(byteCount) else { return false }
    try unsafe fill(start, byteCount, type, body)
    return true
  }

  @inlinable
  @inline(__always)
  internal mutating func fill(
    _ start: UnsafeMutableRawPointer, _ byteCount: Int, _ type: UInt16, _ body: (inout MutableRawSpan) throws -> Int
  ) throws {
    var span = unsafe MutableRawSpan(_unsafeStart: start, byteCount: byteCount)
    let written = try body(&span)
    precondition(
      written >= 0 && written <= byteCount, "RingProducer.send: a message has at most the bytes that were asked for")
    try finish(written, type)
  }

  /// Room for a message that is written in place, if there is some now.
  @usableFromInline
  internal mutating func begin(_ byteCount: Int) throws(SharedMemoryError) -> UnsafeMutableRawPointer? {
    guard let place = try reservePlace(byteCount, until: .now) else { return nil }
    return unsafe lend(place)
  }

  /// Room for a message that is written in place, waiting for it.
  @usableFromInline
  internal mutating func begin(_ byteCount: Int, until deadline: Deadline) throws(SharedMemoryError)
    -> UnsafeMutableRawPointer
  {
    guard let place = try reservePlace(byteCount, until: deadline) else { throw error(.timedOut) }
    return unsafe lend(place)
  }

  /// Commits the message that was begun last.
  @usableFromInline
  internal mutating func finish(_ byteCount: Int, _ type: UInt16) throws(SharedMemoryError) {
    if pgw_fork_generation() != generation { throw error(.forked) }
    let place = open
    if distrusts, byteCount > 0 {
      unsafe (base + place.offset).copyMemory(from: copy.room(byteCount), byteCount: byteCount)
    }
    let outbox = unsafe outbox
    unsafe outbox.pointee.commit(place, byteCount: byteCount, type: type)
    try checkFault()
  }

  @inline(__always)
  private mutating func lend(_ place: RingLaneProducer<RegionWords>.Place) -> UnsafeMutableRawPointer {
    open = place
    return unsafe distrusts ? copy.room(place.byteCount) : base + place.offset
  }

  @inline(__always)
  internal mutating func reservePlace(
    _ byteCount: Int, until deadline: Deadline
  ) throws(SharedMemoryError) -> RingLaneProducer<RegionWords>.Place? {
    guard byteCount >= 0, byteCount <= shape.payloadLimit, pgw_fork_generation() == generation, !isPoisoned else {
      throw refusal(byteCount)
    }
    let outbox = unsafe outbox
    switch unsafe outbox.pointee.reserve(byteCount, until: deadline) {
    case .place(let place): return place
    case .full: return nil
    case .damaged:
      isPoisoned = distrusts
      throw error(.peerMisbehaved)
    }
  }

  @inline(__always)
  private mutating func commit(_ place: RingLaneProducer<RegionWords>.Place, _ bytes: RawSpan, _ type: UInt16) {
    unsafe bytes.withUnsafeBytes {
      guard let from = $0.baseAddress else { return }
      unsafe (base + place.offset).copyMemory(from: from, byteCount: $0.count)
    }
    let outbox = unsafe outbox
    unsafe outbox.pointee.commit(place, byteCount: bytes.byteCount, type: type)
  }

  // It changes nothing, and yet is `mutating`: that passes the producer's address, where a borrow would copy it.
  @inline(__always)
  private mutating func checkFault() throws(SharedMemoryError) {
    if flag.isRaised { throw error(.faulted) }
  }

  @inline(never)
  internal mutating func error(_ code: SharedMemoryError.Code) -> SharedMemoryError {
    SharedMemoryError(code, "send to", region: storage.name, part: part)
  }

  @inline(never)
  private mutating func refusal(_ byteCount: Int) -> SharedMemoryError {
    if storage.isForeign { return error(.forked) }
    if isPoisoned { return error(.peerMisbehaved) }
    return SharedMemoryError(
      .invalidArgument, "send to", region: storage.name, part: part,
      note: "a message has 0 to \(shape.payloadLimit) bytes, not \(byteCount)")
  }
}

extension RegionLayout.Part {
  /// A ring channel: see ``RingProducer`` and ``RingConsumer``.
  ///
  /// - Parameters:
  ///   - name: of the part.
  ///   - capacity: bytes for the messages of each producer, 64 to 64 GiB; rounded up to a power of two. A message has at most half of it, less 8 bytes.
  ///   - producers: how many can send at once, 1 to 64. Each has a lane of its own.
  public static func ring(_ name: String, capacity: Int, producers: Int = 1) -> RegionLayout.Part {
    var rounded = RingShape.capacities.lowerBound
    while rounded < capacity, rounded <= RingShape.capacities.upperBound { rounded *= 2 }
    // What has no shape has no size, which the layout refuses.
    let shape = capacity > 0 ? RingShape(laneCount: producers, capacity: rounded) : nil
    return RegionLayout.Part(name, kind: .ring, byteCount: shape?.byteCount ?? -1, elementSize: shape?.capacity ?? 0)
  }
}

extension RingShape {
  /// Nil for sizes that no ring has: they may come from a region.
  internal init?(of part: RegionLayout.Part) {
    let capacity = part.elementSize
    guard Self.capacities ~= capacity else { return nil }
    self.init(laneCount: (part.byteCount - Self.firstLane) / (RingLane.data + capacity), capacity: capacity)
    guard byteCount == part.byteCount else { return nil }
  }
}

extension RegionStorage {
  /// The shape of a ring, checked: its numbers come from the region.
  internal func ring(_ name: String, _ operation: String) throws(SharedMemoryError) -> (RingShape, offset: Int) {
    let placed = try part(name, .ring, operation)
    guard let shape = RingShape(of: placed.part) else {
      throw SharedMemoryError(
        .damaged, operation, region: self.name, part: name, note: "its sizes are none that a ring has")
    }
    return (shape, placed.offset)
  }
}

extension SharedRegion {
  /// The sending end of a ring channel, for as long as the value lives.
  ///
  /// - Throws: ``SharedMemoryError``: `taken` when all its lanes belong to living producers, `noSuchPart`, `layoutDiffers`, `forked`.
  public borrowing func producer(of name: String) throws(SharedMemoryError) -> RingProducer {
    let (shape, offset) = try storage.ring(name, "send to")
    return try RingProducer(storage, part: name, shape: shape, offset: offset, distrusts: distrustsPeers)
  }
}

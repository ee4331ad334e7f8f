// SPDX-License-Identifier: Apache-2.0

/// The sending end of a broadcast channel: every message goes to all its readers, and the oldest ones make room.
///
/// ```swift
/// var ticks = try region.broadcastWriter(of: "ticks")
/// try ticks.send(bytes)
/// ```
///
/// It never waits for readers that may lose messages, however slow or dead they are. Followers (``BroadcastReader``, `losing: .nothing`) it waits for as long
/// as they live: one that is stopped holds it up, one that is killed does not.
///
/// A message is sent when its commit is done: one store. A writer that is killed before has sent nothing, and the next one takes over at once, by proof of
/// its death; the numbers of the messages go on without a gap.
///
/// One thread at a time uses it. In a forked child it throws `forked`.
@safe
public struct BroadcastWriter: ~Copyable, @unchecked Sendable {
  internal let storage: RegionStorage
  private let part: String
  private let shape: BroadcastShape
  private let distrusts: Bool
  /// After a peer of a distrusting writer has broken the protocol.
  private var isPoisoned = false
  internal let words: RegionWords
  private var outbox: BroadcastOutbox<RegionWords>
  private var spins = SpinRecord()

  internal init(
    _ storage: RegionStorage, part: String, shape: BroadcastShape, offset: Int, distrusts: Bool
  ) throws(SharedMemoryError) {
    let words = unsafe RegionWords(base: storage.base + offset)
    guard OwnerWord.take(words, BroadcastShape.token, storage) else {
      throw SharedMemoryError(.taken, "send to", region: storage.name, part: part, note: "it has one writer")
    }
    guard let outbox = BroadcastOutbox(words: words, shape: shape) else {
      OwnerWord.leave(words, BroadcastShape.token, storage)
      throw SharedMemoryError(
        .peerMisbehaved, "send to", region: storage.name, part: part, note: "it holds impossible numbers")
    }
    self.storage = storage
    self.part = part
    self.distrusts = distrusts
    self.shape = shape
    self.words = words
    self.outbox = outbox
  }

  deinit {
    guard !storage.isForeign else { return }
    OwnerWord.leave(words, BroadcastShape.token, storage)
  }

  /// Bytes of the longest message.
  public var messageLimit: Int { shape.payloadLimit }

  /// Sends a copy of the bytes to all readers, waiting for followers that have no room.
  ///
  /// - Parameters:
  ///   - bytes: 0 to ``messageLimit``.
  ///   - type: the sender's affair.
  ///   - deadline: until when to wait for followers.
  /// - Throws: ``SharedMemoryError``: `timedOut`, `invalidArgument` (too long), `peerMisbehaved`, `faulted`, `forked`. Nothing is sent then.
  /// - Complexity: one copy and two fences; a call of the kernel only when a reader sleeps or a follower has no room.
  @available(*, noasync, message: "it may block the thread; without followers, trySend does the same")
  public mutating func send(_ bytes: RawSpan, type: UInt16 = 0, until deadline: Deadline = .never)
    throws(SharedMemoryError)
  {
    if try trySend(bytes, type: type) { return }
    let limit = spins.limit
    var (round, slept) = (0, false)
    while try !trySend(bytes, type: type) {
      round += 1
      if words.spin(round, of: limit) { continue }
      if deadline.hasPassed { throw error(.timedOut) }
      slept = true
      awaitRoom(bytes.byteCount, until: deadline)
    }
    spins.count(slept: slept)
  }

  /// Sends a copy of the bytes to all readers, unless a follower has no room now.
  ///
  /// - Returns: false when one has none. True always where the channel has no places for followers.
  /// - Throws: as `send(_:type:until:)`.
  public mutating func trySend(_ bytes: RawSpan, type: UInt16 = 0) throws(SharedMemoryError) -> Bool {
    guard bytes.byteCount <= shape.payloadLimit, !storage.isForeign, !isPoisoned else { throw refusal(bytes.byteCount) }
    let storage = storage
    switch outbox.reserve(bytes.byteCount, isDead: { storage.peers.isDead(PeerToken(rawValue: $0)) }) {
    case .full: return false
    case .damaged:
      isPoisoned = distrusts
      throw error(.peerMisbehaved)
    case .place(let place): store(bytes, at: place, type)
    }
    try storage.checkFault("send to")
    return true
  }

  /// Sends a copy of the bytes to all readers; counts it as dropped when a follower has no room now.
  ///
  /// - Returns: false when it was dropped: nobody gets it.
  /// - Throws: as `send(_:type:until:)`.
  public mutating func sendOrDrop(_ bytes: RawSpan, type: UInt16 = 0) throws(SharedMemoryError) -> Bool {
    if try trySend(bytes, type: type) { return true }
    outbox.countDropped()
    return false
  }

  @inline(__always)
  private mutating func store(_ bytes: RawSpan, at place: BroadcastPlace, _ type: UInt16) {
    let whole = bytes.byteCount / 8
    for index in 0..<whole {
      let word = unsafe bytes.unsafeLoadUnaligned(fromUncheckedByteOffset: index &* 8, as: UInt64.self)
      outbox.store(word, at: index, of: place)
    }
    if bytes.byteCount % 8 > 0 {
      var word: UInt64 = 0
      for offset in (whole * 8..<bytes.byteCount).reversed() {
        word = word << 8 | UInt64(unsafe bytes.unsafeLoad(fromUncheckedByteOffset: offset, as: UInt8.self))
      }
      outbox.store(word.littleEndian, at: whole, of: place)
    }
    outbox.commit(place, type: type)
  }

  @inline(never)
  private mutating func awaitRoom(_ byteCount: Int, until deadline: Deadline) {
    let storage = storage
    outbox.awaitRoom(byteCount, until: deadline) { storage.peers.isDead(PeerToken(rawValue: $0)) }
  }

  @inline(never)
  internal func error(_ code: SharedMemoryError.Code) -> SharedMemoryError {
    SharedMemoryError(code, "send to", region: storage.name, part: part)
  }

  @inline(never)
  internal func refusal(_ byteCount: Int) -> SharedMemoryError {
    if storage.isForeign { return error(.forked) }
    if isPoisoned { return error(.peerMisbehaved) }
    return SharedMemoryError(
      .invalidArgument, "send to", region: storage.name, part: part,
      note: "a message has 0 to \(shape.payloadLimit) bytes, not \(byteCount)")
  }
}

extension RegionLayout.Part {
  /// A broadcast channel: see ``BroadcastWriter`` and ``BroadcastReader``.
  ///
  /// - Parameters:
  ///   - name: of the part.
  ///   - capacity: bytes for the messages that are kept, 64 to 64 GiB; rounded up to a power of two. Each message takes 24 bytes more than its own,
  ///     and has at most half of the capacity.
  ///   - followers: how many readers at once can ask to lose nothing, 0 to 256.
  public static func broadcast(_ name: String, capacity: Int, followers: Int = 0) -> RegionLayout.Part {
    var rounded = BroadcastShape.capacities.lowerBound
    while rounded < capacity, rounded <= BroadcastShape.capacities.upperBound { rounded *= 2 }
    // What has no shape has no size, which the layout refuses.
    let shape = capacity > 0 ? BroadcastShape(capacity: rounded, followerLimit: followers) : nil
    return RegionLayout.Part(
      name, kind: .broadcast, byteCount: shape?.byteCount ?? -1, elementSize: shape?.capacity ?? 0)
  }
}

extension RegionStorage {
  /// The shape of a broadcast channel, checked: its numbers come from the region.
  internal func broadcast(_ name: String, _ operation: String) throws(SharedMemoryError) -> (
    BroadcastShape, offset: Int
  ) {
    let placed = try part(name, .broadcast, operation)
    let capacity = placed.part.elementSize
    let rest = placed.part.byteCount - BroadcastShape.places - capacity
    guard rest >= 0, rest % BroadcastShape.placeStride == 0,
      let shape = BroadcastShape(capacity: capacity, followerLimit: rest / BroadcastShape.placeStride)
    else {
      throw SharedMemoryError(
        .damaged, operation, region: self.name, part: name, note: "its sizes are none that a broadcast channel has")
    }
    return (shape, placed.offset)
  }
}

extension SharedRegion {
  /// The sending end of a broadcast channel, for as long as the value lives.
  ///
  /// - Throws: ``SharedMemoryError``: `taken` while a living writer has it, `noSuchPart`, `layoutDiffers`, `forked`.
  public borrowing func broadcastWriter(of name: String) throws(SharedMemoryError) -> BroadcastWriter {
    let (shape, offset) = try storage.broadcast(name, "send to")
    return try BroadcastWriter(storage, part: name, shape: shape, offset: offset, distrusts: distrustsPeers)
  }
}

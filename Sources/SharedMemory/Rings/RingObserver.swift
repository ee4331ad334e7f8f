// SPDX-License-Identifier: Apache-2.0
//
// Looking at messages as they pass, without a place in the ring: only loads, so neither end can tell.
//
// The observer has a cursor of its own, between head and tail. What lies there is committed, and the producer writes over a byte only after
// the consumer has given it back. So: copy, fence, load the head. While the head is not beyond where the copied message begins, no byte of the
// copy was written over. Otherwise the consumer has overtaken the cursor; the copy is thrown away, and the cursor goes on at the head.
//
// That a producer's new bytes are never seen before the head that made room for them is what its releasing fence in
// `RingLaneProducer.reserve` is for: it pairs with the acquiring fence here.

/// What an observer of a lane does.
@_spi(Testing) public struct RingLaneObserver<Words: SharedWords> {
  private let words: Words
  private let lane: Int
  private let capacity: UInt64
  /// Where the next message begins, in the stream of the lane.
  public private(set) var position: UInt64

  /// Begins with the oldest message that waits.
  public init(words: Words, lane: Int, capacity: Int) {
    self.words = words
    self.lane = lane
    self.capacity = UInt64(capacity)
    position = words.loadAcquiring(lane + RingLane.head, "ring.observe.start")
  }

  public enum Next {
    /// The message's words were given to `store`; it ends in the last of them.
    case message(byteCount: Int, type: UInt16)
    /// The consumer has overtaken the cursor; so many bytes were not seen.
    case missed(byteCount: UInt64)
    case empty
    /// A number in the lane is none that an end of it writes.
    case damaged
  }

  /// Copies the next message.
  ///
  /// - Parameter store: gets each word of the payload by its index, in order. When another result than `message` is returned, what it got is nothing.
  public mutating func next(_ store: (Int, UInt64) -> Void) -> Next {
    // Filling is followed by a message at the front of the ring, so the second round is the last.
    for _ in 0..<2 {
      // Pairs with the release in `RingLaneProducer.commit`. Before the head: a head that is loaded later is at most a capacity behind.
      let tail = words.loadAcquiring(lane + RingLane.tail, "ring.observe.tail")
      let head = words.loadAcquiring(lane + RingLane.head, "ring.observe.head")
      guard tail & 7 == 0, head & 7 == 0, position & 7 == 0 else { return .damaged }
      // The cursor was a head or a tail that was loaded before this tail: no honest tail is behind it.
      guard tail &- position < 1 << 63 else { return .damaged }
      if let missed = overtaken(by: head) { return missed }
      // Here head <= position <= tail.
      guard tail &- head <= capacity else { return .damaged }
      if tail == position { return .empty }
      let at = Int(truncatingIfNeeded: position & (capacity &- 1))
      let word = words.loadRelaxed(lane &+ RingLane.data &+ at, "ring.observe.header")
      // Nothing is believed of the header before it is certain that it is one.
      if let missed = overtakenMeanwhile() { return missed }
      let byteCount = Int(truncatingIfNeeded: word & 0xFFFF_FFFF)
      let footprint = RingLane.footprint(byteCount)
      guard UInt64(footprint) <= tail &- position, at &+ footprint <= Int(truncatingIfNeeded: capacity) else {
        return .damaged
      }
      if word >> 48 == 1, at &+ footprint == Int(truncatingIfNeeded: capacity) {
        position = position &+ UInt64(footprint)
        continue
      }
      guard word >> 48 == 0, byteCount <= RingLane.payloadLimit(capacity: Int(capacity)) else { return .damaged }
      let first = lane &+ RingLane.data &+ at &+ 8
      for index in 0..<(byteCount &+ 7) / 8 {
        store(index, words.loadRelaxed(first &+ index &* 8, "ring.observe.word"))
      }
      if let missed = overtakenMeanwhile() { return missed }
      position = position &+ UInt64(footprint)
      return .message(byteCount: byteCount, type: UInt16(truncatingIfNeeded: word >> 32))
    }
    return .damaged
  }

  /// After words were loaded: whether they may have been written over.
  private mutating func overtakenMeanwhile() -> Next? {
    // Pairs with the releasing fence in `RingLaneProducer.reserve`.
    words.fenceAcquiring("ring.observe.fence")
    return overtaken(by: words.loadAcquiring(lane + RingLane.head, "ring.observe.check"))
  }

  private mutating func overtaken(by head: UInt64) -> Next? {
    let missed = head &- position
    guard missed != 0, missed < 1 << 63 else { return nil }
    position = head
    return .missed(byteCount: missed)
  }
}

/// Sees the messages of a ring channel as they pass, and takes none.
///
/// ```swift
/// let reader = try SharedRegionReader(named: "shop")
/// var observer = try reader.observer(ofRing: "orders")
/// while let seen = try observer.next() {
///   switch seen {
///   case .message(let bytes, let type, let lane): show(bytes)
///   case .missed(let count, let lane): warn(count)
///   }
/// }
/// ```
///
/// It reads only; neither end can tell that it is there, and none waits for it. So it misses what the consumer takes before it was copied, and says how much that was.
/// What it shows was sent so, whole, and in the order of its lane. One thread at a time uses it.
@safe
public struct RingObserver: ~Copyable, @unchecked Sendable {
  private let storage: RegionStorage
  private let part: String
  private var lanes: [RingLaneObserver<RegionWords>]
  /// The lane that is looked at next.
  private var turn = 0

  internal init(_ storage: RegionStorage, part: String) throws(SharedMemoryError) {
    let (shape, offset) = try storage.ring(part, "observe")
    let words = unsafe RegionWords(base: storage.base + offset)
    lanes = (0..<shape.laneCount).map {
      RingLaneObserver(words: words, lane: shape.lane($0), capacity: shape.capacity)
    }
    self.storage = storage
    self.part = part
  }

  /// What was seen.
  public enum Observation: Sendable, Hashable {
    /// A copy of a message, its type, and the lane of its producer.
    case message([UInt8], type: UInt16, lane: Int)
    /// The consumer was faster: so many bytes of the lane were taken unseen, counted as ``RingStatus/Lane/receivedBytes`` counts them.
    case missed(byteCount: UInt64, lane: Int)
  }

  /// How far each lane was seen or missed, counted as ``RingStatus/Lane/sentBytes`` counts.
  public var positions: [UInt64] { lanes.map(\.position) }

  /// The next message that is there now, of one lane after the other; nil when nothing is that was not seen.
  ///
  /// - Throws: ``SharedMemoryError``: `peerMisbehaved` when the lane holds what no end of it writes, each time that its turn comes; `faulted`, `forked`.
  /// - Complexity: a copy of the message. Calls no kernel and never waits.
  public mutating func next() throws(SharedMemoryError) -> Observation? {
    if storage.isForeign { throw SharedMemoryError(.forked, "observe", region: storage.name, part: part) }
    for _ in 0..<lanes.count {
      let lane = turn
      turn = turn + 1 == lanes.count ? 0 : turn + 1
      var bytes: [UInt8] = []
      let found = lanes[lane].next { _, word in unsafe withUnsafeBytes(of: word) { unsafe bytes.append(contentsOf: $0) }
      }
      try storage.checkFault("observe")
      switch found {
      case .message(let byteCount, let type):
        bytes.removeLast(bytes.count - byteCount)
        return .message(bytes, type: type, lane: lane)
      case .missed(let byteCount): return .missed(byteCount: byteCount, lane: lane)
      case .empty: continue
      case .damaged:
        throw SharedMemoryError(
          .peerMisbehaved, "observe", region: storage.name, part: part, note: "lane \(lane) holds impossible numbers")
      }
    }
    return nil
  }
}

extension SharedRegionReader {
  /// Sees the messages of a ring channel, from the oldest that waits now.
  ///
  /// - Throws: ``SharedMemoryError``: `noSuchPart`, `layoutDiffers`, `damaged`, `forked`.
  public borrowing func observer(ofRing name: String) throws(SharedMemoryError) -> RingObserver {
    try RingObserver(storage, part: name)
  }
}

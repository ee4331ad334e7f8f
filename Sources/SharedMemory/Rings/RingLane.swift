// SPDX-License-Identifier: Apache-2.0
//
// A lane: a ring of bytes from one producer to one consumer, with messages of any size.
//
//   offset  size
//        0     8  tail: bytes ever committed. Written by the producer; the one commit point
//        8     8  token of the producer; 0 for none
//       16     8  messages that the producer has dropped
//      128     8  head: bytes ever consumed. Written by the consumer
//      256    12  bell of the producer: rings when there is room (see Bell)
//      384     -  `capacity` bytes of data, a power of two. Byte n of the stream lies at n modulo capacity
//
// A message is a word of 8 bytes and the payload, filled up to a multiple of 8:
//
//   bits   0..<32  bytes of payload
//         32..<48  type, the sender's affair
//         48..<64  1 for filling: what is left before the end of the ring, where the next message would not fit in one piece
//
// Everything between tail and what the producer writes is nobody's business: a producer that is killed before its store of the tail has
// sent nothing, and its successor begins at the tail. Everything from head to tail is committed: a consumer that is killed before its store
// of the head has consumed nothing, and its successor begins at the head. So there is nothing to repair, whoever dies where.

/// What both ends of a lane agree on.
@_spi(Testing) public enum RingLane {
  public static let tail = 0
  public static let token = 8
  public static let dropped = 16
  public static let head = 128
  public static let room = 256
  public static let data = 384
  public static let fillingMark: UInt64 = 1 << 48

  /// Bytes of a message in the ring.
  @inline(__always)
  public static func footprint(_ byteCount: Int) -> Int { (byteCount &+ 15) & ~7 }

  /// The longest payload that always finds its place in an empty ring, wherever its end is.
  /// A length has 32 bits, that of filling too, which is shorter than the message it stands before.
  public static func payloadLimit(capacity: Int) -> Int { min(capacity / 2 - 8, Int(UInt32.max) - 15) }
}

/// The producer's end: where its next message goes.
@_spi(Testing) public struct RingLaneProducer<Words: SharedWords> {
  private let words: Words
  private let lane: Int
  private let capacity: UInt64
  /// As it stands in the lane; nobody else writes it.
  private var tail: UInt64
  /// The head when it was last looked at: at most what it is now.
  private var knownHead: UInt64

  /// Takes over a lane whose token is this producer's. Nil when its numbers are none that a lane has.
  public init?(words: Words, lane: Int, capacity: Int) {
    self.words = words
    self.lane = lane
    self.capacity = UInt64(capacity)
    tail = words.loadAcquiring(lane + RingLane.tail, "ring.produce.tail")
    knownHead = words.loadAcquiring(lane + RingLane.head, "ring.produce.head")
    // As in `reserve`.
    words.fenceReleasing("ring.produce.fence")
    guard isPossible else { return nil }
  }

  private var isPossible: Bool { tail &- knownHead <= capacity && tail & 7 == 0 && knownHead & 7 == 0 }

  /// What a reservation gives: where the payload goes, from the start of the lane, and where the tail will be.
  public struct Place {
    public let offset: Int
    /// What was asked for.
    public let byteCount: Int
    let header: Int
    let filling: Int

    static var none: Place { Place(offset: 0, byteCount: 0, header: 0, filling: 0) }
  }

  public enum Reservation {
    case place(Place)
    case full
    /// The consumer's number is none that a consumer writes.
    case damaged
  }

  /// Finds room for a message of at most `byteCount` bytes, at most the lane's limit. Nothing of it is shared before the commit.
  @inline(__always)
  public mutating func reserve(_ byteCount: Int) -> Reservation {
    let footprint = RingLane.footprint(byteCount)
    let position = Int(truncatingIfNeeded: tail & (capacity &- 1))
    let left = Int(truncatingIfNeeded: capacity) &- position
    let filling = left < footprint ? left : 0
    let needed = UInt64(truncatingIfNeeded: filling &+ footprint)
    if capacity &- (tail &- knownHead) < needed {
      // Pairs with the release in `RingLaneConsumer.consume`: its reads of the old bytes come before our writes.
      knownHead = words.loadAcquiring(lane + RingLane.head, "ring.reserve.head")
      // Pairs with the acquiring fence in `RingLaneObserver.next`: whoever sees a byte of ours there sees this head as well. Once a
      // lap, and no instruction on x86-64.
      words.fenceReleasing("ring.reserve.fence")
      guard isPossible else { return .damaged }
      if capacity &- (tail &- knownHead) < needed { return .full }
    }
    let header = lane &+ RingLane.data &+ (filling == 0 ? position : 0)
    return .place(
      Place(offset: header &+ 8, byteCount: byteCount, header: header, filling: filling))
  }

  /// Makes the message, `byteCount` bytes at the place's offset, the consumer's. At most what was reserved.
  @inline(__always)
  public mutating func commit(_ place: Place, byteCount: Int, type: UInt16) {
    if place.filling > 0 {
      let position = Int(truncatingIfNeeded: tail & (capacity &- 1))
      words.storeRelaxed(
        UInt64(place.filling &- 8) | RingLane.fillingMark, lane &+ RingLane.data &+ position, "ring.commit.filling")
    }
    words.storeRelaxed(UInt64(byteCount) | UInt64(type) << 32, place.header, "ring.commit.header")
    tail = tail &+ UInt64(place.filling &+ RingLane.footprint(byteCount))
    // The commit point. Pairs with the acquiring load in `RingLaneConsumer.next`.
    words.storeReleasing(tail, lane + RingLane.tail, "ring.commit.tail")
  }

  /// One more message that was not sent.
  public func countDropped() {
    let before = words.loadRelaxed(lane + RingLane.dropped, "ring.drop.load")
    words.storeRelaxed(before &+ 1, lane + RingLane.dropped, "ring.drop.store")
  }

  /// What changes when the consumer gives room back.
  public var awaited: AwaitedWord { AwaitedWord(offset: lane + RingLane.head, value: knownHead) }

  /// Bytes that are committed and not consumed, as far as this end knows.
  public var backlog: UInt64 { tail &- knownHead }
}

/// The consumer's end: which message is next.
@_spi(Testing) public struct RingLaneConsumer<Words: SharedWords> {
  private let words: Words
  private let lane: Int
  private let capacity: UInt64
  /// As it stands in the lane.
  private var head: UInt64
  /// Where the next message begins: after those that were looked at and not given back yet.
  private var position: UInt64
  /// The tail when it was last looked at.
  private var knownTail: UInt64

  /// Takes over a lane. Nil when its numbers are none that a lane has.
  public init?(words: Words, lane: Int, capacity: Int) {
    self.words = words
    self.lane = lane
    self.capacity = UInt64(capacity)
    head = words.loadAcquiring(lane + RingLane.head, "ring.consume.head")
    position = head
    knownTail = words.loadAcquiring(lane + RingLane.tail, "ring.consume.tail")
    guard isPossible else { return nil }
  }

  private var isPossible: Bool { knownTail &- head <= capacity && knownTail & 7 == 0 && head & 7 == 0 }

  public enum Next {
    case message(offset: Int, byteCount: Int, type: UInt16)
    case empty
    /// The producer's number or the message's is none that a producer writes.
    case damaged
  }

  /// The message after the last one, from the start of the lane. It stays where it is until `consume`.
  @inline(__always)
  public mutating func next() -> Next {
    if position == knownTail {
      // Pairs with the release in `RingLaneProducer.commit`.
      knownTail = words.loadAcquiring(lane + RingLane.tail, "ring.next.tail")
      guard isPossible, knownTail &- position <= knownTail &- head else { return .damaged }
      if position == knownTail { return .empty }
    }
    // Filling is followed by a message at the front of the ring, in the same commit: the second round is the last.
    var start = position
    for _ in 0..<2 {
      let at = Int(truncatingIfNeeded: start & (capacity &- 1))
      // Read once: what is checked is what is used.
      let word = words.loadRelaxed(lane &+ RingLane.data &+ at, "ring.next.header")
      let byteCount = Int(truncatingIfNeeded: word & 0xFFFF_FFFF)
      let footprint = RingLane.footprint(byteCount)
      guard UInt64(footprint) <= knownTail &- start, at &+ footprint <= Int(truncatingIfNeeded: capacity) else {
        return .damaged
      }
      start = start &+ UInt64(footprint)
      if word >> 48 == 0 {
        guard byteCount <= RingLane.payloadLimit(capacity: Int(truncatingIfNeeded: capacity)) else { return .damaged }
        // The position passes over nothing that is damaged: that is met again.
        position = start
        return .message(
          offset: lane &+ RingLane.data &+ at &+ 8, byteCount: byteCount, type: UInt16(truncatingIfNeeded: word >> 32))
      }
      guard word >> 48 == 1, at &+ footprint == Int(truncatingIfNeeded: capacity) else { return .damaged }
    }
    return .damaged
  }

  /// What was there behind the message that `next` returned last, when the lane was last looked at. Bytes, with headers.
  public var bytesBehind: UInt64 { knownTail &- position }

  /// Whether `next` would find something, a message or damage.
  public var hasNext: Bool { words.loadAcquiring(lane + RingLane.tail, "ring.peek.tail") != position }

  /// What changes when there is something, after `hasNext` was false.
  public var awaited: AwaitedWord { AwaitedWord(offset: lane + RingLane.tail, value: position) }

  /// Gives all that `next` has returned back to the producer.
  @inline(__always)
  public mutating func consume() {
    guard head != position else { return }
    head = position
    // Pairs with the acquiring load in `RingLaneProducer.reserve`.
    words.storeReleasing(head, lane + RingLane.head, "ring.consume.store")
  }

  /// Begins again at the first message that was not consumed.
  public mutating func rewind() { position = head }
}

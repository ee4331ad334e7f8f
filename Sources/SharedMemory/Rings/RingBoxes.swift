// SPDX-License-Identifier: Apache-2.0
//
// A ring channel: one lane for each producer, one consumer for all of them.
//
//   offset  size
//        0     8  token of the consumer; 0 for none
//      128    12  the consumer's bell: rings when a message was committed in any lane (see Bell)
//      256     -  the lanes, `laneStride` bytes each (see RingLane)
//
// No word is shared by two producers, so none can hold another up, whichever way it ends. The order of messages is kept within a lane.

/// Where things lie in a channel.
@_spi(Testing) public struct RingShape: Sendable, Hashable {
  public let laneCount: Int
  /// Bytes of data in each lane, a power of two.
  public let capacity: Int

  public static let consumer = 0
  public static let bell = 128
  public static let firstLane = 256
  public static let laneLimit = 64
  public static let capacities = 64...(1 << 36)

  public init?(laneCount: Int, capacity: Int) {
    guard 1...Self.laneLimit ~= laneCount, Self.capacities ~= capacity, capacity & (capacity - 1) == 0 else {
      return nil
    }
    self.laneCount = laneCount
    self.capacity = capacity
  }

  public var laneStride: Int { RingLane.data &+ capacity }
  public var byteCount: Int { Self.firstLane + laneCount * laneStride }
  public func lane(_ index: Int) -> Int { Self.firstLane &+ index &* laneStride }
  public var payloadLimit: Int { RingLane.payloadLimit(capacity: capacity) }
}

/// What a producer does.
@_spi(Testing) public struct RingOutbox<Words: SharedWords> {
  private let words: Words
  private let lane: Int
  private var producer: RingLaneProducer<Words>
  private var spins = SpinRecord()

  /// For a lane whose token is this producer's already. Nil when its numbers are none that a lane has.
  public init?(words: Words, shape: RingShape, lane index: Int) {
    self.words = words
    lane = shape.lane(index)
    guard let producer = RingLaneProducer(words: words, lane: lane, capacity: shape.capacity) else { return nil }
    self.producer = producer
    // Whoever had the lane before may have been killed between its commit and its ring.
    Bell(words: words, offset: RingShape.bell).ring()
  }

  /// Finds room, waiting for it until the deadline.
  @inline(__always)
  public mutating func reserve(_ byteCount: Int, until deadline: Deadline) -> RingLaneProducer<Words>.Reservation {
    let found = producer.reserve(byteCount)
    if case .full = found, deadline != .now { return awaitRoom(byteCount, until: deadline) }
    return found
  }

  @inline(never)
  private mutating func awaitRoom(_ byteCount: Int, until deadline: Deadline) -> RingLaneProducer<Words>.Reservation {
    let limit = spins.limit
    var (round, slept) = (0, false)
    while true {
      let found = producer.reserve(byteCount)
      guard case .full = found else {
        spins.count(slept: slept)
        return found
      }
      round += 1
      if words.spin(round, of: limit) { continue }
      if words.hasPassed(deadline) { return .full }
      slept = true
      Bell(words: words, offset: lane + RingLane.room).await(until: words.slice(deadline)) {
        if case .full = producer.reserve(byteCount) { false } else { true }
      }
    }
  }

  @inline(__always)
  public mutating func commit(_ place: RingLaneProducer<Words>.Place, byteCount: Int, type: UInt16) {
    producer.commit(place, byteCount: byteCount, type: type)
    Bell(words: words, offset: RingShape.bell).ring()
  }

  public func countDropped() { producer.countDropped() }

  /// What changes when the consumer gives room back.
  public var awaited: AwaitedWord { producer.awaited }
}

/// What the consumer does.
@safe
@_spi(Testing) public struct RingInbox<Words: SharedWords>: ~Copyable {
  private let words: Words
  private let shape: RingShape
  /// One for each lane.
  private let lanes: UnsafeMutablePointer<RingLaneConsumer<Words>>
  /// The lane that is looked at next.
  private var turn = 0
  /// Whose turn it was when all was given back.
  private var settledTurn = 0
  /// Lanes with messages that were found and not consumed, a bit each.
  private var open: UInt64 = 0
  private var spins = SpinRecord()
  private var lead = LeadRecord()

  /// For a channel whose consumer token is this one's already. Nil when the numbers of a lane are none that a lane has.
  public init?(words: Words, shape: RingShape) {
    let lanes = UnsafeMutablePointer<RingLaneConsumer<Words>>.allocate(capacity: shape.laneCount)
    for index in 0..<shape.laneCount {
      guard let lane = RingLaneConsumer(words: words, lane: shape.lane(index), capacity: shape.capacity) else {
        unsafe lanes.deinitialize(count: index)
        unsafe lanes.deallocate()
        return nil
      }
      unsafe (lanes + index).initialize(to: lane)
      // Whoever consumed before may have been killed between giving back and its ring.
      Bell(words: words, offset: shape.lane(index) + RingLane.room).ring()
    }
    self.words = words
    self.shape = shape
    unsafe self.lanes = unsafe lanes
  }

  deinit {
    unsafe lanes.deinitialize(count: shape.laneCount)
    unsafe lanes.deallocate()
  }

  public enum Found {
    case message(offset: Int, byteCount: Int, type: UInt16, lane: Int)
    case nothing
    case damaged(lane: Int)
  }

  /// The next message that is there now, of the lane whose turn it is.
  @inline(__always)
  public mutating func poll() -> Found {
    for _ in 0..<shape.laneCount {
      let index = turn
      switch unsafe lanes[index].next() {
      case .message(let offset, let byteCount, let type):
        open |= 1 << UInt64(truncatingIfNeeded: index)
        return .message(offset: offset, byteCount: byteCount, type: type, lane: index)
      case .damaged: return .damaged(lane: index)
      case .empty: pass()
      }
    }
    return .nothing
  }

  /// The next message, waiting for it until the deadline.
  @inline(__always)
  public mutating func next(until deadline: Deadline) -> Found {
    if lead.isGiven, deadline != .now { return nextWithLead(until: deadline) }
    let found = poll()
    if case .nothing = found, deadline != .now { return awaitMessage(until: deadline) }
    return found
  }

  /// Looks a while later where nothing more is known to be there.
  @inline(never)
  private mutating func nextWithLead(until deadline: Deadline) -> Found {
    for index in 0..<shape.laneCount where unsafe lanes[index].bytesBehind > 0 { return poll() }
    var round = 0
    while round < lead.moments, words.spin(round, of: spins.limit) { round += 1 }
    let found = poll()
    lead.count(countBehind(found))
    if case .nothing = found { return awaitMessage(until: deadline) }
    return found
  }

  @inline(never)
  private mutating func awaitMessage(until deadline: Deadline) -> Found {
    let limit = spins.limit
    var (round, slept) = (0, false)
    while true {
      let found = poll()
      guard case .nothing = found else {
        spins.count(slept: slept)
        lead.pass()
        return found
      }
      round += 1
      if words.spin(round, of: limit) { continue }
      if words.hasPassed(deadline) { return .nothing }
      slept = true
      var late = Found.nothing
      Bell(words: words, offset: RingShape.bell).await(until: words.slice(deadline)) {
        late = poll()
        if case .nothing = late { return false } else { return true }
      }
      guard case .nothing = late else {
        spins.count(slept: true)
        lead.pass()
        return late
      }
    }
  }

  /// How many messages of this one's size are there with it.
  private func countBehind(_ found: Found) -> Int {
    guard case .message(_, let byteCount, _, let lane) = found else { return 0 }
    return unsafe 1 &+ Int(truncatingIfNeeded: lanes[lane].bytesBehind) / RingLane.footprint(byteCount)
  }

  /// Whether `poll` would find something.
  public var hasNext: Bool {
    for index in 0..<shape.laneCount where unsafe lanes[index].hasNext { return true }
    return false
  }

  /// What changes when there is something, after `hasNext` was false: one of these.
  public var awaited: [AwaitedWord] { (0..<shape.laneCount).map { unsafe lanes[$0].awaited } }

  @inline(__always)
  private mutating func pass() { turn = turn &+ 1 == shape.laneCount ? 0 : turn &+ 1 }

  /// Gives every message that was found back to its producer, and lets the next lane have its turn.
  @inline(__always)
  public mutating func consume() {
    while open != 0 {
      let index = open.trailingZeroBitCount
      open &= open &- 1
      unsafe lanes[index].consume()
      Bell(words: words, offset: shape.lane(index) &+ RingLane.room).ring()
    }
    pass()
    settledTurn = turn
  }

  /// Forgets what was found and not consumed: it will be found again, in the same order.
  public mutating func rewind() {
    turn = settledTurn
    for index in 0..<shape.laneCount { unsafe lanes[index].rewind() }
    open = 0
  }
}

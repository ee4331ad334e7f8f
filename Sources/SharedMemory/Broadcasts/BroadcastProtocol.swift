// SPDX-License-Identifier: Apache-2.0
//
// A broadcast channel: one writer, any number of readers, and the oldest messages make room for new ones.
//
//   offset  size
//        0     8  tail: bytes ever committed. Written by the writer; the one commit point
//        8     8  token of the writer; 0 for none
//       16     8  intent: up to where the writer may have written. Never less than before
//       24     8  messages that the writer did not send, because a follower had no room
//       32     8  joins: how often a follower took a place
//      128    12  the readers' bell: rings when a message was committed (see Bell)
//      256    12  the writer's bell: rings when a follower has given room back, or left
//      384     -  places for followers, 128 bytes each:
//                   0  8  token of the follower; 0 for none
//                   8  8  head: all before was read. Written by the follower
//        -     -  `capacity` bytes of data, a power of two. Byte n of the stream lies at n modulo capacity, also within a message
//
// A message is a multiple of 8 bytes:
//
//   8  header: bits 0..<32 bytes of payload, 32..<48 type (the sender's affair), 48..<64 0
//   8  number: 1 for the channel's first message, then one more each time
//   -  payload, filled up to a multiple of 8
//   8  the header again, so that the messages can be walked from the last one back
//
//   write                                          read the message at position p
//   -----                                          ------------------------------
//   raise intent to where the message will end     load tail, acquiring: p before it, or there is nothing
//   fence: intent is stored before what follows    copy the message, word by word
//   store the message, word by word                fence: the copy is loaded before what follows
//   store tail, releasing                          load intent: when p + capacity is not before it, the copy is whole
//
// Readers leave no trace, so nobody can hold the writer up, and a reader that is too slow learns by the numbers exactly how many messages it has lost. A
// writer that is killed before its store of the tail has sent nothing; what it may have overwritten stays marked by its intent, which
// the next writer takes over.
//
// A follower is a reader that loses nothing: the writer waits for the living ones. Both ends first make themselves known and then look:
//
//   write, when there are places for followers     join at position p
//   ------------------------------------------     ------------------
//   as far as known there is room                  store p to head
//   raise intent                                   add 1 to joins
//   fence                                          fence
//   load joins: when it is another, look at        load intent: when p + capacity is before it, begin again further on
//     all heads again; without room, wait
//
// So at least one of the two sees the other. A follower that is proved dead is nobody's follower any more.

/// Where things lie in a broadcast channel.
@_spi(Testing) public struct BroadcastShape: Sendable, Hashable {
  /// Bytes of data, a power of two.
  public let capacity: Int
  /// Places for readers that lose nothing.
  public let followerLimit: Int

  public static let tail = 0
  public static let token = 8
  public static let intent = 16
  public static let dropped = 24
  public static let joins = 32
  public static let bell = 128
  public static let room = 256
  public static let places = 384
  public static let placeStride = 128
  public static let head = 8
  public static let followerLimits = 0...256
  public static let capacities = 64...(1 << 36)

  public init?(capacity: Int, followerLimit: Int) {
    guard Self.capacities ~= capacity, capacity & (capacity - 1) == 0, Self.followerLimits ~= followerLimit else {
      return nil
    }
    self.capacity = capacity
    self.followerLimit = followerLimit
  }

  public var data: Int { Self.places + followerLimit * Self.placeStride }
  public var byteCount: Int { data + capacity }
  public func place(_ index: Int) -> Int { Self.places + index * Self.placeStride }

  /// Bytes of a message in the ring.
  @inline(__always)
  public static func footprint(_ byteCount: Int) -> Int { ((byteCount &+ 7) & ~7) &+ 24 }

  /// The longest payload: a message is at most half of the capacity, so that one that is being written never reaches the one before it.
  public var payloadLimit: Int { min(capacity / 2 - 24, Int(UInt32.max)) }
}

/// A message's place in the stream.
@_spi(Testing) public struct BroadcastPlace: Sendable, Hashable {
  public let position: UInt64
  public let byteCount: Int
  public let type: UInt16
  public let number: UInt64
  public var end: UInt64 { position &+ UInt64(BroadcastShape.footprint(byteCount)) }

  static var none: BroadcastPlace { BroadcastPlace(position: 0, byteCount: 0, type: 0, number: 0) }
}

/// What the writer does.
@_spi(Testing) public struct BroadcastOutbox<Words: SharedWords> {
  private let words: Words
  private let shape: BroadcastShape
  private let data: Int
  private let mask: UInt64
  /// As they stand in the channel; nobody else writes them.
  private var tail: UInt64
  private var intent: UInt64
  /// Of the last message that was committed.
  private var number: UInt64
  private var knownJoins: UInt64
  /// No follower was known to need anything before it.
  private var knownHead: UInt64
  /// A follower's number was none that a follower writes.
  private var isDamaged = false

  /// For a channel whose writer token is this one's already. Nil when its numbers are none that a channel has.
  public init?(words: Words, shape: BroadcastShape) {
    self.words = words
    self.shape = shape
    data = shape.data
    mask = UInt64(shape.capacity) &- 1
    tail = words.loadAcquiring(BroadcastShape.tail, "broadcast.write.tail")
    intent = words.loadRelaxed(BroadcastShape.intent, "broadcast.write.intent")
    // The first message looks at the followers.
    knownJoins = .max
    knownHead = tail
    number = 0
    guard tail & 7 == 0, intent & 7 == 0, intent >= tail, intent &- tail <= UInt64(shape.capacity / 2),
      tail < 1 << 62
    else { return nil }
    if tail > 0 {
      let reader = BroadcastInbox(words: words, shape: shape)
      guard let last = reader.place(endingAt: tail) else { return nil }
      number = last.number
    }
    // Whoever wrote before may have been killed between its commit and its ring.
    Bell(words: words, offset: BroadcastShape.bell).ring()
  }

  public enum Reservation {
    case place(BroadcastPlace)
    case full
    /// A follower's number is none that a follower writes.
    case damaged
  }

  /// Makes room for a message of at most `byteCount` bytes, at most the channel's limit. Followers that are proved dead lose their places.
  @inline(__always)
  public mutating func reserve(_ byteCount: Int, isDead: (UInt64) -> Bool) -> Reservation {
    let end = tail &+ UInt64(BroadcastShape.footprint(byteCount))
    // Intent says what may be overwritten, so it is not raised for what has to wait.
    guard hasRoom(end, isDead) else { return isDamaged ? .damaged : .full }
    if end > intent {
      intent = end
      words.storeRelaxed(end, BroadcastShape.intent, "broadcast.reserve.intent")
    }
    if shape.followerLimit > 0 {
      words.fence("broadcast.reserve.fence")
      // Whoever has joined before that fence is seen now; whoever joins after it sees the intent.
      guard hasRoom(end, isDead) else { return isDamaged ? .damaged : .full }
    } else {
      // Pairs with the acquiring fence in `BroadcastInbox.isWhole`.
      words.fenceReleasing("broadcast.reserve.release")
    }
    return .place(BroadcastPlace(position: tail, byteCount: byteCount, type: 0, number: number &+ 1))
  }

  /// Whether no follower needs what a message that ends there overwrites.
  @inline(__always)
  private mutating func hasRoom(_ end: UInt64, _ isDead: (UInt64) -> Bool) -> Bool {
    guard shape.followerLimit > 0 else { return true }
    // Pairs with the addition in `BroadcastInbox.follow`: who sees it sees the place's head.
    let joins = words.loadAcquiring(BroadcastShape.joins, "broadcast.reserve.joins")
    if joins == knownJoins, end &- knownHead <= UInt64(shape.capacity) { return true }
    look(isDead)
    knownJoins = joins
    return !isDamaged && end &- knownHead <= UInt64(shape.capacity)
  }

  /// Asks all followers how far they are.
  @inline(never)
  private mutating func look(_ isDead: (UInt64) -> Bool) {
    var least = tail
    for index in 0..<shape.followerLimit {
      let place = shape.place(index)
      let owner = words.loadAcquiring(place, "broadcast.look.token")
      if owner == 0 { continue }
      // Pairs with the release in `BroadcastInbox.giveBack`: its reads of the old words come before our writes. Of one that is
      // joining it is older than what it will be.
      let head = words.loadAcquiring(place + BroadcastShape.head, "broadcast.look.head")
      if head >= least { continue }
      // Only whom it would have to wait for is asked whether it lives.
      if tail &- head >= UInt64(shape.capacity / 2), isDead(owner) {
        _ = words.compareExchange(owner, 0, place, "broadcast.look.free")
        continue
      }
      isDamaged = isDamaged || head & 7 != 0
      least = head
    }
    knownHead = least
  }

  /// Stores a word of the message's payload.
  @inline(__always)
  public func store(_ word: UInt64, at index: Int, of place: BroadcastPlace) {
    words.storeRelaxed(
      word, offset(place.position &+ 16 &+ UInt64(truncatingIfNeeded: index &* 8)), "broadcast.write.word")
  }

  @inline(__always)
  private func offset(_ position: UInt64) -> Int { data &+ Int(truncatingIfNeeded: position & mask) }

  /// Makes the message, of which all words are stored, the readers'.
  @inline(__always)
  public mutating func commit(_ place: BroadcastPlace, type: UInt16) {
    let header = UInt64(place.byteCount) | UInt64(type) << 32
    words.storeRelaxed(header, offset(tail), "broadcast.commit.header")
    words.storeRelaxed(place.number, offset(tail &+ 8), "broadcast.commit.number")
    words.storeRelaxed(header, offset(place.end &- 8), "broadcast.commit.trailer")
    tail = place.end
    number = place.number
    // The commit point. Pairs with the acquiring load in `BroadcastInbox.next`.
    words.storeReleasing(tail, BroadcastShape.tail, "broadcast.commit.tail")
    Bell(words: words, offset: BroadcastShape.bell).ring()
  }

  /// Waits until a follower gives room back, or the deadline at most; may end for no reason.
  @inline(never)
  public mutating func awaitRoom(_ byteCount: Int, until deadline: Deadline, isDead: (UInt64) -> Bool) {
    Bell(words: words, offset: BroadcastShape.room).await(until: words.slice(deadline)) {
      if case .full = reserve(byteCount, isDead: isDead) { false } else { true }
    }
  }

  /// One more message that was not sent.
  public func countDropped() {
    let before = words.loadRelaxed(BroadcastShape.dropped, "broadcast.drop.load")
    words.storeRelaxed(before &+ 1, BroadcastShape.dropped, "broadcast.drop.store")
  }
}

/// What a reader does.
@_spi(Testing) public struct BroadcastInbox<Words: SharedWords> {
  private let words: Words
  private let shape: BroadcastShape
  private let data: Int
  private let mask: UInt64
  /// Where the next message begins, and its number.
  public private(set) var position: UInt64 = 0
  public private(set) var number: UInt64 = 1
  /// The offset of a follower's place; 0 for a reader without.
  private var place = 0

  public init(words: Words, shape: BroadcastShape) {
    self.words = words
    self.shape = shape
    data = shape.data
    mask = UInt64(shape.capacity) &- 1
  }

  @inline(__always)
  private func offset(_ position: UInt64) -> Int { data &+ Int(truncatingIfNeeded: position & mask) }

  /// Whether what was copied of a message at this position was not being overwritten meanwhile.
  @inline(__always)
  private func isWhole(_ position: UInt64) -> Bool {
    // Nothing of a follower's is overwritten.
    if place > 0 { return true }
    words.fenceAcquiring("broadcast.read.fence")
    let intent = words.loadRelaxed(BroadcastShape.intent, "broadcast.read.intent")
    return intent &- position <= UInt64(shape.capacity)
  }

  /// The message that begins at a position; nil when its words are none of a message, or not those of one any more.
  @inline(__always)
  private func place(at position: UInt64, _ header: UInt64, before end: UInt64) -> BroadcastPlace? {
    let byteCount = Int(truncatingIfNeeded: header & 0xFFFF_FFFF)
    guard header >> 48 == 0, byteCount <= shape.payloadLimit, position <= end,
      UInt64(BroadcastShape.footprint(byteCount)) <= end &- position
    else { return nil }
    return BroadcastPlace(
      position: position, byteCount: byteCount, type: UInt16(truncatingIfNeeded: header >> 32),
      number: words.loadRelaxed(offset(position &+ 8), "broadcast.read.number"))
  }

  /// The message that ends at a position, by its last word.
  public func place(endingAt end: UInt64) -> BroadcastPlace? {
    let header = words.loadRelaxed(offset(end &- 8), "broadcast.back.trailer")
    let footprint = UInt64(BroadcastShape.footprint(Int(truncatingIfNeeded: header & 0xFFFF_FFFF)))
    guard footprint <= end, footprint <= UInt64(shape.capacity) else { return nil }
    return place(at: end &- footprint, header, before: end)
  }

  public enum Start: Sendable, Hashable {
    /// With the next message that is sent.
    case next
    /// With so many of the last messages, or as many as are left of them.
    case latest(Int)
    /// Somewhere in what is left: far enough from the end to have lost little, and from the beginning not to lose it at once.
    case middle
  }

  public enum Beginning: Sendable {
    case found
    /// The writer was faster again and again: it may be tried again.
    case overtaken
    /// The words are none of a channel.
    case damaged
  }

  /// Finds where to begin.
  public mutating func begin(_ start: Start) -> Beginning {
    var before: UInt64? = nil
    var isOvertaken = false
    for _ in 0..<100 {
      let tail = words.loadAcquiring(BroadcastShape.tail, "broadcast.begin.tail")
      guard tail & 7 == 0 else { return .damaged }
      // What moves is a fast writer; what stands still and is not whole is damage.
      if let before, tail != before { isOvertaken = true }
      before = tail
      if tail == 0 {
        (position, number) = (0, 1)
        return .found
      }
      guard let last = place(endingAt: tail), isWhole(last.position) else { continue }
      (position, number) = (tail, last.number &+ 1)
      let (wanted, reach): (UInt64, UInt64) =
        switch start {
        case .next: (0, 0)
        case .latest(let count): (UInt64(max(0, count)), UInt64(shape.capacity))
        case .middle: (.max, UInt64(shape.capacity / 2))
        }
      var taken: UInt64 = 0
      var next = last
      while taken < wanted, tail &- next.position <= reach, isWhole(next.position) {
        // Checked before it is believed: the words were whole when they were read.
        guard next.number == number &- 1 else { break }
        (position, number) = (next.position, next.number)
        taken += 1
        guard position > 0, let before = place(endingAt: position) else { break }
        next = before
      }
      return .found
    }
    return isOvertaken ? .overtaken : .damaged
  }

  public enum Found {
    case message(BroadcastPlace)
    case empty
    /// It was overwritten before it could be read: begin again.
    case lost
    case damaged
  }

  /// The next message. Its payload is read by `load`, and is the message's when `isStill` says so afterwards.
  @inline(__always)
  public func next() -> Found {
    // Pairs with the release in `BroadcastOutbox.commit`.
    let tail = words.loadAcquiring(BroadcastShape.tail, "broadcast.next.tail")
    if tail == position { return .empty }
    guard tail > position, tail & 7 == 0 else { return .damaged }
    if tail &- position > UInt64(shape.capacity) { return place > 0 ? .damaged : .lost }
    let header = words.loadRelaxed(offset(position), "broadcast.next.header")
    let found = place(at: position, header, before: tail)
    guard isWhole(position) else { return .lost }
    guard let found, found.number == number else { return .damaged }
    return .message(found)
  }

  @inline(__always)
  public func load(_ index: Int, of place: BroadcastPlace) -> UInt64 {
    words.loadRelaxed(
      offset(place.position &+ 16 &+ UInt64(truncatingIfNeeded: index &* 8)), "broadcast.read.word")
  }

  /// Whether all that was loaded of it was the message's.
  @inline(__always)
  public func isStill(_ place: BroadcastPlace) -> Bool { isWhole(place.position) }

  /// Goes on to the message after it.
  @inline(__always)
  public mutating func advance(past place: BroadcastPlace) {
    position = place.end
    number = place.number &+ 1
  }

  /// Goes back to a message that was not given back.
  public mutating func rewind(to position: UInt64, number: UInt64) { (self.position, self.number) = (position, number) }

  /// Takes part as a follower, in a place whose token is this one's already: from now on nothing is overwritten before it is given back.
  public mutating func follow(_ index: Int, _ start: Start) -> Beginning {
    let place = shape.place(index)
    for _ in 0..<100 {
      let beginning = begin(start)
      guard beginning == .found else { return beginning }
      words.storeReleasing(position, place + BroadcastShape.head, "broadcast.follow.head")
      var joins = words.loadRelaxed(BroadcastShape.joins, "broadcast.follow.joins")
      while !words.compareExchange(joins, joins &+ 1, BroadcastShape.joins, "broadcast.follow.add") {
        joins = words.loadRelaxed(BroadcastShape.joins, "broadcast.follow.joins")
      }
      words.fence("broadcast.follow.fence")
      let intent = words.loadRelaxed(BroadcastShape.intent, "broadcast.follow.intent")
      if intent &- position <= UInt64(shape.capacity) {
        self.place = place
        // A writer that met the place's old head may wait for it.
        Bell(words: words, offset: BroadcastShape.room).ring()
        return .found
      }
    }
    return .overtaken
  }

  /// Gives the room of all that was read back to the writer. By a follower.
  @inline(__always)
  public func giveBack() {
    guard place > 0 else { return }
    // Pairs with the acquiring load in `BroadcastOutbox.look`.
    words.storeReleasing(position, place &+ BroadcastShape.head, "broadcast.give.head")
    Bell(words: words, offset: BroadcastShape.room).ring()
  }

  /// What changes when there is a message, after there was none.
  public var awaited: AwaitedWord { AwaitedWord(offset: BroadcastShape.tail, value: position) }

  /// Waits for a message, until the deadline at most; may end for no reason.
  @inline(never)
  public func awaitMessage(until deadline: Deadline) {
    Bell(words: words, offset: BroadcastShape.bell).await(until: words.slice(deadline)) {
      words.loadAcquiring(BroadcastShape.tail, "broadcast.await.tail") != position
    }
  }
}

// SPDX-License-Identifier: Apache-2.0

@_spi(Testing) import SharedMemory
import Testing
import _TestSupport

/// The broadcast channel in every order of its steps, with a death at every step: what readers get is whole and in order, what they lose is counted, and
/// followers lose nothing.
@Suite struct BroadcastModelTests {
  /// A channel in which so many messages were sent, one or two: they fill a capacity of 64.
  static func words(_ shape: BroadcastShape, sent: UInt64) -> [(offset: Int, value: UInt64)] {
    var words: [(offset: Int, value: UInt64)] = [
      (BroadcastShape.tail, sent * 32), (BroadcastShape.intent, sent * 32), (BroadcastShape.joins, 0),
    ]
    for offset in [0, 4, 8] { words += [(BroadcastShape.bell + offset, 0), (BroadcastShape.room + offset, 0)] }
    for number in 1...UInt64(shape.capacity / 32) {
      let header: UInt64 = 8 | 1 << 32
      let message: [UInt64] = number <= sent ? [header, number, number, header] : [0, 0, 0, 0]
      for (index, word) in message.enumerated() {
        words.append((shape.data + (Int(number) - 1) * 32 + index * 8, word))
      }
    }
    for index in 0..<shape.followerLimit {
      words += [(shape.place(index), 0), (shape.place(index) + BroadcastShape.head, 0)]
    }
    return words
  }

  /// Mistakes that the exploration must find.
  enum Plant: String, CaseIterable, Sendable {
    // Of writers and readers that lose.
    case tailRelaxed, tailAcquiredNot, writeWithoutFence, readWithoutFence, noIntent, ringWithoutFence, noWake
    // Of followers.
    case joinWithoutFence, reserveWithoutFence, noJoins, headBeforeReading

    var isOfFollowers: Bool {
      switch self {
      case .joinWithoutFence, .reserveWithoutFence, .noJoins, .headBeforeReading: true
      default: false
      }
    }
  }

  /// Sends messages of one word, which is the message's number, and notes each.
  static func writer(
    _ shape: BroadcastShape, count: Int, follower: Int? = nil, _ plant: Plant? = nil
  ) -> (ModelWords) -> Void {
    { words in
      let planted = PlantedBroadcastWords(words: words, plant: plant)
      guard var outbox = BroadcastOutbox(words: planted, shape: shape) else { return words.note(9001) }
      for _ in 0..<count {
        var isSent = false
        while !isSent {
          switch outbox.reserve(8, isDead: { _ in follower.map { words.isDead($0) } ?? false }) {
          case .damaged: return words.note(9002)
          case .full: outbox.awaitRoom(8, until: .never) { _ in follower.map { words.isDead($0) } ?? false }
          case .place(let place):
            outbox.store(place.number, at: 0, of: place)
            outbox.commit(place, type: 1)
            words.note(place.number)
            isSent = true
          }
        }
      }
    }
  }

  /// Notes the numbers that it gets; 9003 for a torn one, 9004 where the channel says it is damaged.
  static func reader(
    _ shape: BroadcastShape, until last: UInt64, from start: BroadcastInbox<PlantedBroadcastWords>.Start = .next,
    follows: Bool = false, deadline: Deadline = .never, _ plant: Plant? = nil
  ) -> (ModelWords) -> Void {
    { words in
      var inbox = BroadcastInbox(words: PlantedBroadcastWords(words: words, plant: plant), shape: shape)
      if follows { _ = words.compareExchange(0, 7, shape.place(0), "test.take") }
      guard (follows ? inbox.follow(0, start) : inbox.begin(start)) == .found else { return words.note(9005) }
      words.note(1000 + inbox.number)
      var isOver = false
      while !isOver, inbox.number <= last {
        switch inbox.next() {
        case .empty:
          if words.hasPassed(deadline) { isOver = true } else { inbox.awaitMessage(until: deadline) }
        case .damaged: return words.note(9004)
        case .lost: guard inbox.begin(.middle) == .found else { return words.note(9006) }
        case .message(let place):
          if plant == .headBeforeReading {
            inbox.advance(past: place)
            inbox.giveBack()
          }
          let value = inbox.load(0, of: place)
          if inbox.isStill(place) {
            words.note(value == place.number && place.type == 1 ? value : 9003)
            if plant != .headBeforeReading {
              inbox.advance(past: place)
              inbox.giveBack()
            }
          } else if inbox.begin(.middle) != .found {
            return words.note(9006)
          }
        }
      }
    }
  }

  static let stepLimit = RegionScene.isLong ? 20_000_000 : 100_000

  static func explore(
    _ name: String, _ shape: BroadcastShape, sent: UInt64 = 0, crashes: Int = 0, mortal: Int? = nil,
    timesOut: Bool = true,
    _ actors: [(ModelWords) -> Void], check: @escaping (Model) -> String?
  ) -> String? {
    let exploration = Exploration()
    let story = exploration.violation(
      words: words(shape, sent: sent),
      limits: .init(
        crashes: crashes, mortal: mortal, timeouts: 1, timesOut: timesOut && crashes > 0, steps: stepLimit,
        randomSteps: stepLimit),
      actors: actors
    ) { model in
      if let bad = model.notes.first(where: { $0.value > 9000 }) { return "actor \(bad.actor) noted \(bad.value)" }
      return check(model)
    }
    print(
      "broadcast, \(name): \(exploration.isComplete ? "all" : "NOT ALL:") \(exploration.states) states, "
        + "\(exploration.steps) steps, \(exploration.runs) runs, \(exploration.ends) ends")
    return story
  }

  static func isRising(_ numbers: [UInt64]) -> Bool { zip(numbers, numbers.dropFirst()).allSatisfy { $0 < $1 } }

  /// How many messages there are already, and how many are sent.
  struct Flow: Sendable, CustomStringConvertible {
    let sent: UInt64
    let count: Int
    var last: UInt64 { sent + UInt64(count) }
    var description: String { "\(count) after \(sent)" }
  }
  static let flows = [
    Flow(sent: 0, count: 1), Flow(sent: 1, count: 1), Flow(sent: 2, count: 1), Flow(sent: 2, count: 2),
  ]

  static func readerComplaint(_ model: Model, _ last: UInt64) -> String? {
    let got = model.notes(of: 1).filter { $0 < 1000 }
    return isRising(got) && got.last == last ? nil : "received \(got)"
  }

  /// A follower's notes: where it began, then every message from there.
  static func followerComplaint(_ model: Model, _ last: UInt64) -> String? {
    let notes = model.notes(of: 1)
    guard let begin = notes.first.map({ $0 - 1000 }), begin >= 1 else { return "noted \(notes)" }
    return Array(notes.dropFirst()) == Array(begin..<max(begin, last + 1)) ? nil : "noted \(notes)"
  }

  @Test(arguments: flows) func `a reader gets the last message, and all before it whole and in order`(_ flow: Flow)
    throws
  {
    let shape = try #require(BroadcastShape(capacity: 64, followerLimit: 0))
    let story = Self.explore(
      "\(flow)", shape, sent: flow.sent,
      [Self.writer(shape, count: flow.count), Self.reader(shape, until: flow.last, from: .latest(9))]
    ) { Self.readerComplaint($0, flow.last) }
    #expect(story == nil, "\(story ?? "")")
  }

  @Test(arguments: [0, 2]) func `a writer that dies anywhere has sent what it committed, and the numbers go on`(
    _ sent: UInt64
  ) throws {
    let shape = try #require(BroadcastShape(capacity: 64, followerLimit: 0))
    let story = Self.explore(
      "a writer dies after \(sent)", shape, sent: sent, crashes: 1, mortal: 0,
      [
        Self.writer(shape, count: 1),
        Self.reader(shape, until: sent + 2, from: .latest(9), deadline: .after(.seconds(1))),
        { words in if words.isDead(0) { Self.writer(shape, count: 1)(words) } },
      ]
    ) { model in
      let got = model.notes(of: 1).filter { $0 < 1000 }
      guard Self.isRising(got) else { return "received \(got)" }
      // Numbers are given once: what the successor sent comes after what the first had committed, noted by it or not.
      let (first, second) = (model.notes(of: 0), model.notes(of: 2))
      guard let next = second.first else { return nil }
      let least = sent + UInt64(first.count) + 1
      return next == least || next == least + 1 ? nil : "\(first) and then \(second)"
    }
    #expect(story == nil, "\(story ?? "")")
  }

  @Test(arguments: flows) func `a follower gets every message from where it began`(_ flow: Flow) throws {
    let shape = try #require(BroadcastShape(capacity: 64, followerLimit: 1))
    let story = Self.explore(
      "a follower, \(flow)", shape, sent: flow.sent,
      [
        Self.writer(shape, count: flow.count, follower: 1),
        Self.reader(shape, until: flow.last, from: .latest(9), follows: true),
      ]
    ) { Self.followerComplaint($0, flow.last) }
    #expect(story == nil, "\(story ?? "")")
  }

  @Test func `a follower that dies anywhere does not hold the writer up`() throws {
    let shape = try #require(BroadcastShape(capacity: 64, followerLimit: 1))
    let story = Self.explore(
      "a follower dies", shape, sent: 2, crashes: 1, mortal: 1, timesOut: false,
      [
        Self.writer(shape, count: 1, follower: 1), Self.reader(shape, until: 3, from: .latest(9), follows: true),
      ]
    ) { model in model.notes(of: 0) == [3] ? nil : "sent \(model.notes(of: 0))" }
    #expect(story == nil, "\(story ?? "")")
  }

  @Test(arguments: Plant.allCases) func `a planted mistake is found`(_ plant: Plant) throws {
    let shape = try #require(BroadcastShape(capacity: 64, followerLimit: plant.isOfFollowers ? 1 : 0))
    var isFound = false
    for flow in Self.flows where !isFound {
      let story = Self.explore(
        "\(plant), \(flow)", shape, sent: flow.sent,
        [
          Self.writer(shape, count: flow.count, follower: plant.isOfFollowers ? 1 : nil, plant),
          Self.reader(shape, until: flow.last, from: .latest(9), follows: plant.isOfFollowers, plant),
        ]
      ) { plant.isOfFollowers ? Self.followerComplaint($0, flow.last) : Self.readerComplaint($0, flow.last) }
      isFound = story != nil
    }
    #expect(isFound)
  }

  @Test func `a successor that forgets how far the dead writer may have written is found out`() throws {
    let shape = try #require(BroadcastShape(capacity: 64, followerLimit: 0))
    // The first is killed in the middle of the message that overwrites the first one; the second begins by lowering the intent to the tail.
    let story = Self.explore(
      "intent lowered", shape, sent: 2,
      [
        { words in
          guard var outbox = BroadcastOutbox(words: words, shape: shape),
            case .place(let place) = outbox.reserve(8, isDead: { _ in false })
          else { return words.note(9001) }
          outbox.store(place.number, at: 0, of: place)
          words.storeRelaxed(place.position, BroadcastShape.intent, "test.lower")
        },
        Self.reader(shape, until: 2, from: .latest(9)),
      ]
    ) { Self.isRising($0.notes(of: 1).filter { $0 < 1000 }) ? nil : "received \($0.notes(of: 1))" }
    #expect(story != nil)
  }
}

/// The words of a model with a step of the broadcast changed.
struct PlantedBroadcastWords: ForwardingWords {
  let words: ModelWords
  let plant: BroadcastModelTests.Plant?

  private func isStep(_ step: StaticString, _ name: String) -> Bool { "\(step)" == name }

  func loadAcquiring(_ offset: Int, _ step: StaticString) -> UInt64 {
    switch plant {
    case .tailAcquiredNot where isStep(step, "broadcast.next.tail"): words.loadRelaxed(offset, step)
    case .noJoins where isStep(step, "broadcast.reserve.joins"): 0
    default: words.loadAcquiring(offset, step)
    }
  }
  func storeRelaxed(_ value: UInt64, _ offset: Int, _ step: StaticString) {
    if plant == .noIntent, isStep(step, "broadcast.reserve.intent") { return }
    words.storeRelaxed(value, offset, step)
  }
  func storeReleasing(_ value: UInt64, _ offset: Int, _ step: StaticString) {
    if plant == .tailRelaxed, isStep(step, "broadcast.commit.tail") {
      words.storeRelaxed(value, offset, step)
    } else {
      words.storeReleasing(value, offset, step)
    }
  }
  func wake(_ offset: Int, _ step: StaticString) { if plant != .noWake { words.wake(offset, step) } }
  func fenceAcquiring(_ step: StaticString) { if plant != .readWithoutFence { words.fenceAcquiring(step) } }
  func fenceReleasing(_ step: StaticString) { if plant != .writeWithoutFence { words.fenceReleasing(step) } }
  func fence(_ step: StaticString) {
    switch plant {
    case .ringWithoutFence where isStep(step, "bell.ring.fence"),
      .joinWithoutFence where isStep(step, "broadcast.follow.fence"),
      .reserveWithoutFence where isStep(step, "broadcast.reserve.fence"):
      break
    default: words.fence(step)
    }
  }
}

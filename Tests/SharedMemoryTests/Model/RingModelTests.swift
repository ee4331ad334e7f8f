// SPDX-License-Identifier: Apache-2.0

@_spi(Testing) import SharedMemory
import Testing
import _TestSupport

/// The ring channel in every order of its steps, with a death at every step: no committed message is lost, torn, out of order or twice but by the
/// documented redelivery, and nobody sleeps for ever.
@Suite struct RingModelTests {
  static func words(_ shape: RingShape) -> [(offset: Int, value: UInt64)] {
    var offsets = [RingShape.consumer, RingShape.bell, RingShape.bell + 4, RingShape.bell + 8]
    for lane in 0..<shape.laneCount {
      let at = shape.lane(lane)
      offsets += [RingLane.tail, RingLane.head, RingLane.room, RingLane.room + 4, RingLane.room + 8].map { at + $0 }
      offsets += stride(from: 0, to: shape.capacity, by: 8).map { at + RingLane.data + $0 }
    }
    return offsets.map { ($0, 0) }
  }

  /// Mistakes that the exploration must find, made by leaving steps of the real code out, or weaker.
  enum Plant: String, CaseIterable, Sendable {
    case tailRelaxed, headRelaxed, tailAcquiredNot, headAcquiredNot, ringWithoutFence, awaitWithoutFence, noWake
    case headerAfterTail, consumeBeforeReading
  }

  /// A message of `size` words, all of them its value.
  static func send(_ words: ModelWords, _ outbox: inout RingOutbox<some SharedWords>, _ value: UInt64, size: Int)
    -> Bool
  {
    switch outbox.reserve(size * 8, until: .never) {
    case .place(let place):
      for word in 0..<size { words.plainStore(value, place.offset + word * 8, "payload.store") }
      outbox.commit(place, byteCount: size * 8, type: UInt16(size))
      return true
    default: return false
    }
  }

  static func producer(_ shape: RingShape, lane: Int = 0, _ values: [UInt64], size: Int, _ plant: Plant? = nil) -> (
    ModelWords
  ) -> Void {
    { words in
      let planted = PlantedWords(words: words, plant: plant)
      guard var outbox = RingOutbox(words: planted, shape: shape, lane: lane) else { return words.note(9001) }
      for value in values {
        guard send(words, &outbox, value, size: size) else { return words.note(9002) }
        words.note(value)
      }
    }
  }

  /// Notes what it receives. A message whose words differ is noted as 9003.
  static func consumer(
    _ shape: RingShape, expecting count: Int, batch: Int = 1, until deadline: Deadline = .never, _ plant: Plant? = nil
  ) -> (ModelWords) -> Void {
    { words in
      let planted = PlantedWords(words: words, plant: plant)
      guard var inbox = RingInbox(words: planted, shape: shape) else { return words.note(9004) }
      var got = 0
      var open: [UInt64] = []
      // No local function over these: its access to them would last over a switch of stacks, which the runtime keeps a list of.
      var isMore = true
      while isMore, got < count {
        if case .message(let offset, let byteCount, let type, _) = inbox.next(until: deadline) {
          if plant == .consumeBeforeReading { inbox.consume() }
          var value: UInt64 = 0
          for word in 0..<byteCount / 8 {
            let part = words.plainLoad(offset + word * 8, "payload.load")
            value = word == 0 || part == value ? part : 9003
          }
          open.append(Int(type) * 8 == byteCount ? value : 9003)
          got += 1
        } else {
          isMore = false
        }
        if open.count == batch || !isMore || got == count {
          inbox.consume()
          for value in open { words.note(value) }
          open = []
        }
      }
    }
  }

  /// What is committed and not consumed at the end, oldest first.
  static func left(_ model: Model, _ shape: RingShape, lane: Int) -> [UInt64] {
    let at = shape.lane(lane)
    var position = model[at + RingLane.head]
    var values: [UInt64] = []
    while position < model[at + RingLane.tail] {
      let place = at + RingLane.data + Int(position) % shape.capacity
      let word = model[place]
      if word >> 48 == 0 { values.append(model[place + 8]) }
      position += UInt64(RingLane.footprint(Int(word & 0xFFFF_FFFF)))
    }
    return values
  }

  /// Two messages and more have too many runs to see all: so much of them is tried.
  static let stepLimit = RegionScene.isLong ? 20_000_000 : 200_000

  struct Report: CustomStringConvertible {
    var story: String?
    var description: String
  }

  static func explore(
    _ shape: RingShape, crashes: Int = 0, mortal: Int? = nil,
    _ actors: [(ModelWords) -> Void],
    check: @escaping (Model) -> String?
  ) -> Report {
    let exploration = Exploration()
    let story = exploration.violation(
      words: words(shape),
      limits: .init(crashes: crashes, mortal: mortal, timeouts: 1, timesOut: crashes > 0, steps: stepLimit),
      actors: actors, check: check)
    return Report(
      story: story,
      description:
        "\(exploration.isComplete ? "all" : "NOT ALL:") \(exploration.states) states, \(exploration.steps) steps, \(exploration.runs) runs, \(exploration.ends) ends"
    )
  }

  // MARK: Two that live

  struct Flow: Sendable, CustomStringConvertible {
    let description: String
    let messages: UInt64
    let size: Int
    var batch = 1
  }

  static let flows = [
    Flow(description: "one message", messages: 1, size: 1),
    Flow(description: "two messages", messages: 2, size: 1),
    Flow(description: "three messages in a ring with room for four", messages: 3, size: 1),
    Flow(description: "three messages in a ring with room for two", messages: 3, size: 3),
    Flow(description: "three messages, one over the end of the ring", messages: 3, size: 2),
    Flow(description: "three messages in batches of two", messages: 3, size: 2, batch: 2),
  ]

  @Test(arguments: flows) func `all that is sent is received, whole and in order`(_ flow: Flow) throws {
    let shape = try #require(RingShape(laneCount: 1, capacity: 64))
    let values = Array(1...flow.messages)
    let report = Self.explore(
      shape,
      [Self.producer(shape, values, size: flow.size), Self.consumer(shape, expecting: values.count, batch: flow.batch)]
    ) { $0.notes(of: 1) == values ? nil : "received \($0.notes(of: 1))" }
    #expect(report.story == nil, "\(report.story ?? "")")
    // Of the others a part is seen, as large as the limits of steps say.
    if flow.messages == 1 { #expect(report.description.hasPrefix("all"), "\(report)") }
    print("ring, \(flow): \(report)")
  }

  @Test func `two producers do not disturb each other`() throws {
    let shape = try #require(RingShape(laneCount: 2, capacity: 64))
    let report = Self.explore(
      shape,
      [
        Self.producer(shape, lane: 0, [1], size: 1), Self.producer(shape, lane: 1, [11], size: 1),
        Self.consumer(shape, expecting: 2),
      ]
    ) { $0.notes(of: 2).sorted() == [1, 11] ? nil : "received \($0.notes(of: 2))" }
    #expect(report.story == nil, "\(report.story ?? "")")
    print("ring, two producers: \(report)")
  }

  // MARK: Deaths

  @Test(arguments: [1, 2]) func `a producer that dies anywhere loses its open message alone, and its successor goes on`(
    _ size: Int
  ) throws {
    let shape = try #require(RingShape(laneCount: 1, capacity: 64))
    let successor = Self.producer(shape, [101], size: size)
    let report = Self.explore(
      shape, crashes: 1, mortal: 0,
      [
        Self.producer(shape, [1, 2], size: size), Self.consumer(shape, expecting: 3, until: .after(.seconds(1))),
        { words in if words.isDead(0) { successor(words) } },
      ]
    ) { model in
      let received = model.notes(of: 1) + Self.left(model, shape, lane: 0)
      let sent = model.notes(of: 0)
      // What was committed and not yet noted by the one that died may be there as well.
      let possible = [sent, sent + [UInt64(sent.count) + 1]].map { $0 + model.notes(of: 2) }
      return possible.contains(received) ? nil : "sent \(sent) and \(model.notes(of: 2)), there is \(received)"
    }
    #expect(report.story == nil, "\(report.story ?? "")")
    print("ring, a producer dies: \(report)")
  }

  @Test(arguments: [1, 2]) func `a consumer that dies anywhere has its open messages given to its successor`(
    _ batch: Int
  ) throws {
    let shape = try #require(RingShape(laneCount: 1, capacity: 64))
    let successor = Self.consumer(shape, expecting: 3, batch: batch, until: .after(.seconds(1)))
    let report = Self.explore(
      shape, crashes: 1, mortal: 1,
      [
        Self.producer(shape, [1, 2, 3], size: 1), Self.consumer(shape, expecting: 3, batch: batch),
        { words in if words.isDead(1) { successor(words) } },
      ]
    ) { model in
      let first = model.notes(of: 1)
      let second = model.notes(of: 2) + Self.left(model, shape, lane: 0)
      if first.contains(where: { $0 > 3 }) || first != Array([1, 2, 3].prefix(first.count)) {
        return "the first got \(first)"
      }
      // Consumed and not yet noted by the one that died, at most a batch.
      let begins = second.first ?? 4
      let most = UInt64(first.count + (model.isDead(1) ? batch : 0) + 1)
      if begins < UInt64(first.count + 1) || begins > most {
        return "the first noted \(first), the second begins with \(begins)"
      }
      return second == Array(begins..<4) ? nil : "the second got \(second)"
    }
    #expect(report.story == nil, "\(report.story ?? "")")
    print("ring, a consumer dies: \(report)")
  }

  // MARK: Mistakes

  @Test(arguments: Plant.allCases) func `a planted mistake is found`(_ plant: Plant) throws {
    let shape = try #require(RingShape(laneCount: 1, capacity: 64))
    var found = false
    for (messages, size) in [(1, 1), (3, 2), (3, 3)] as [(UInt64, Int)] where !found {
      let values = Array(1...messages)
      let report = Self.explore(
        shape,
        [Self.producer(shape, values, size: size, plant), Self.consumer(shape, expecting: values.count, plant)]
      ) { $0.notes(of: 1) == values ? nil : "received \($0.notes(of: 1))" }
      found = report.story != nil
    }
    #expect(found)
  }
}

/// The words of a model with a step changed.
struct PlantedWords: ForwardingWords {
  let words: ModelWords
  let plant: RingModelTests.Plant?

  private func isStep(_ step: StaticString, _ name: String) -> Bool { "\(step)" == name }

  func loadAcquiring(_ offset: Int, _ step: StaticString) -> UInt64 {
    switch plant {
    case .tailAcquiredNot where isStep(step, "ring.next.tail"),
      .headAcquiredNot where isStep(step, "ring.reserve.head"):
      words.loadRelaxed(offset, step)
    default: words.loadAcquiring(offset, step)
    }
  }
  func storeRelaxed(_ value: UInt64, _ offset: Int, _ step: StaticString) {
    // The header of a message is stored late: see `storeReleasing`.
    if plant == .headerAfterTail, isStep(step, "ring.commit.header") {
      words.model.late = (value, offset)
    } else {
      words.storeRelaxed(value, offset, step)
    }
  }
  func storeReleasing(_ value: UInt64, _ offset: Int, _ step: StaticString) {
    switch plant {
    case .tailRelaxed where isStep(step, "ring.commit.tail"), .headRelaxed where isStep(step, "ring.consume.store"):
      words.storeRelaxed(value, offset, step)
    default: words.storeReleasing(value, offset, step)
    }
    if let late = words.model.late, isStep(step, "ring.commit.tail") {
      words.model.late = nil
      words.storeRelaxed(late.value, late.offset, "ring.commit.header")
    }
  }
  func wake(_ offset: Int, _ step: StaticString) { if plant != .noWake { words.wake(offset, step) } }
  func fence(_ step: StaticString) {
    switch plant {
    case .ringWithoutFence where isStep(step, "bell.ring.fence"),
      .awaitWithoutFence where isStep(step, "sleepers.fence"):
      break
    default: words.fence(step)
    }
  }
}

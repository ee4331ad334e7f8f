// SPDX-License-Identifier: Apache-2.0

@_spi(Testing) import SharedMemory
import Testing
import _TestSupport

/// Looking at a lane in every order of the steps of its ends: what is shown was sent so, or is said to be missed.
@Suite struct ObserverModelTests {
  /// Steps of the real code that are left out, or weaker.
  enum Plant: String, CaseIterable, Sendable {
    case noCheck, checkWithoutFence, producerWithoutFence
  }

  struct Words: ForwardingWords {
    let words: ModelWords
    let plant: Plant?

    func loadAcquiring(_ offset: Int, _ step: StaticString) -> UInt64 {
      // The head as it was before anything was given back.
      if plant == .noCheck, "\(step)" == "ring.observe.check" { return 0 }
      return words.loadAcquiring(offset, step)
    }
    func fenceAcquiring(_ step: StaticString) {
      if plant == .checkWithoutFence, "\(step)" == "ring.observe.fence" { return }
      words.fenceAcquiring(step)
    }
    func fenceReleasing(_ step: StaticString) {
      if plant == .producerWithoutFence, "\(step)" == "ring.reserve.fence" { return }
      words.fenceReleasing(step)
    }
  }

  /// A full lane: messages 1 and 2, of `size` words each, in a ring that has no room for more.
  static func full(_ shape: RingShape, size: Int) -> [(offset: Int, value: UInt64)] {
    let lane = shape.lane(0)
    let footprint = RingLane.footprint(size * 8)
    return RingModelTests.words(shape).map { word in
      let at = word.offset - lane - RingLane.data
      if word.offset == lane + RingLane.tail { return (word.offset, UInt64(2 * footprint)) }
      guard at >= 0, at < 2 * footprint else { return word }
      let header = UInt64(size * 8) | UInt64(size) << 32
      return (word.offset, at % footprint == 0 ? header : UInt64(at / footprint + 1))
    }
  }

  static func explore(_ plant: Plant?) throws -> RingModelTests.Report {
    let shape = try #require(RingShape(laneCount: 1, capacity: 64))
    let lane = shape.lane(0)
    let exploration = Exploration()
    let actors: [(ModelWords) -> Void] = [
      { words in
        // Writes over the first message, once the consumer has given it back.
        let planted = Words(words: words, plant: plant)
        guard var producer = RingLaneProducer(words: planted, lane: lane, capacity: shape.capacity) else { return }
        guard case .place(let place) = producer.reserve(24) else { return }
        for word in 0..<3 { words.plainStore(3, place.offset + word * 8, "payload.store") }
        producer.commit(place, byteCount: 24, type: 3)
      },
      { words in
        guard var consumer = RingLaneConsumer(words: words, lane: lane, capacity: shape.capacity) else { return }
        if case .message = consumer.next() { consumer.consume() }
      },
      { words in
        let planted = Words(words: words, plant: plant)
        var observer = RingLaneObserver(words: planted, lane: lane, capacity: shape.capacity)
        let begin = observer.position
        var seen: [UInt64] = []
        switch observer.next({ _, word in seen.append(word) }) {
        case .message(24, 3):
          words.note(seen == [begin / 32 + 1, begin / 32 + 1, begin / 32 + 1] ? begin / 32 + 1 : 9003)
        case .missed(32): words.note(begin == 0 ? 10 : 9004)
        default: words.note(9005)
        }
      },
    ]
    let story = exploration.violation(
      words: full(shape, size: 3), limits: .init(crashes: 0, timeouts: 1, timesOut: false, steps: 2_000_000),
      actors: actors
    ) { model in
      let noted = model.notes(of: 2)
      return noted.count == 1 && [1, 2, 10].contains(noted[0]) ? nil : "the observer noted \(noted)"
    }
    return RingModelTests.Report(
      story: story,
      description:
        "\(exploration.isComplete ? "all" : "NOT ALL:") \(exploration.states) states, \(exploration.runs) runs")
  }

  @Test func `what is shown was sent so, and what was written over is missed`() throws {
    let report = try Self.explore(nil)
    #expect(report.story == nil, "\(report.story ?? "")")
    #expect(report.description.hasPrefix("all"), "\(report)")
    print("ring, an observer: \(report)")
  }

  @Test(arguments: Plant.allCases) func `a planted mistake is found`(_ plant: Plant) throws {
    #expect(try Self.explore(plant).story != nil)
  }
}

// SPDX-License-Identifier: Apache-2.0

@_spi(Testing) import SharedMemory
import Testing
import _TestSupport

/// The cell in every order of its steps: no value is torn, whoever dies where.
@Suite(.enabled("takes long") { RegionScene.isLong }) struct CellModelTests {
  static let words: [(offset: Int, value: UInt64)] = [(0, 0)] + [128, 136, 256, 264].map { ($0, 0) }

  enum Plant: CaseIterable, Sendable { case writeWithoutFence, readWithoutFence, sequenceRelaxed, noCheck }

  static func writer(_ values: ClosedRange<UInt64>, _ plant: Plant? = nil) -> (ModelWords) -> Void {
    { words in
      let cell = CellProtocol(words: PlantedCellWords(words: words, plant: plant), byteCount: 16)
      for value in values {
        cell.write(2) { _ in value }
        words.note(value)
      }
    }
  }

  /// Notes each value it reads; 9001 for a torn one, 9002 for one that does not belong to its number, 9003 for one that is older than the one before.
  static func reader(_ times: Int, _ plant: Plant? = nil) -> (ModelWords) -> Void {
    { words in
      let cell = CellProtocol(words: PlantedCellWords(words: words, plant: plant), byteCount: 16)
      var last: UInt64 = 0
      for _ in 0..<times {
        var value: [UInt64] = [0, 0]
        guard let number = cell.read(2, { value[$0] = $1 }) else { continue }
        if value[0] != value[1] { words.note(9001) }
        if number != value[0] { words.note(9002) }
        if number < last { words.note(9003) }
        last = number
      }
    }
  }

  static func complaint(_ model: Model) -> String? {
    model.notes.first { $0.value > 9000 }.map { "actor \($0.actor) noted \($0.value)" }
  }

  @Test(arguments: [0, 1]) func `a reader sees whole values, each with its number`(_ crashes: Int) {
    let exploration = Exploration()
    let story = exploration.violation(
      words: Self.words, limits: .init(crashes: crashes, mortal: 0),
      actors: [
        Self.writer(1...3), Self.reader(2),
        { words in
          // The next writer begins where the dead one's commits end.
          guard words.isDead(0) else { return }
          let next = words.model[0] + 1
          Self.writer(next...next)(words)
        },
      ], check: Self.complaint)
    #expect(story == nil, "\(story ?? "")")
    print(
      "cell: \(exploration.states) states, \(exploration.steps) steps, \(exploration.runs) runs, \(exploration.ends) ends"
    )
  }

  @Test(arguments: Plant.allCases) func `a planted mistake is found`(_ plant: Plant) {
    let exploration = Exploration()
    let story = exploration.violation(
      words: Self.words, actors: [Self.writer(1...3, plant), Self.reader(2, plant)], check: Self.complaint)
    #expect(story != nil)
  }
}

/// The words of a model with a step of the cell changed.
struct PlantedCellWords: SharedWords {
  let words: ModelWords
  let plant: CellModelTests.Plant?

  func loadRelaxed(_ offset: Int, _ step: StaticString) -> UInt64 {
    if plant == .noCheck, "\(step)" == "cell.read.check" { return words.model.lastSequence[words.actor, default: 0] }
    return words.loadRelaxed(offset, step)
  }
  func loadAcquiring(_ offset: Int, _ step: StaticString) -> UInt64 {
    let value = words.loadAcquiring(offset, step)
    words.model.lastSequence[words.actor] = value
    return value
  }
  func storeRelaxed(_ value: UInt64, _ offset: Int, _ step: StaticString) { words.storeRelaxed(value, offset, step) }
  func storeReleasing(_ value: UInt64, _ offset: Int, _ step: StaticString) {
    if plant == .sequenceRelaxed {
      words.storeRelaxed(value, offset, step)
    } else {
      words.storeReleasing(value, offset, step)
    }
  }
  func compareExchange(_ expected: UInt64, _ desired: UInt64, _ offset: Int, _ step: StaticString) -> Bool {
    words.compareExchange(expected, desired, offset, step)
  }
  func loadCount(_ offset: Int, _ step: StaticString) -> UInt32 { words.loadCount(offset, step) }
  func addCount(_ offset: Int, _ step: StaticString) -> UInt32 { words.addCount(offset, step) }
  func storeHint(_ value: UInt32, _ offset: Int, _ step: StaticString) { words.storeHint(value, offset, step) }
  func loadHint(_ offset: Int, _ step: StaticString) -> UInt32 { words.loadHint(offset, step) }
  func compareExchangeHint(_ expected: UInt32, _ desired: UInt32, _ offset: Int, _ step: StaticString) -> Bool {
    words.compareExchangeHint(expected, desired, offset, step)
  }
  func sleep(_ offset: Int, while expected: UInt32, until deadline: Deadline, _ step: StaticString) {
    words.sleep(offset, while: expected, until: deadline, step)
  }
  func wake(_ offset: Int, _ step: StaticString) { words.wake(offset, step) }
  func fence(_ step: StaticString) { words.fence(step) }
  func fenceAcquiring(_ step: StaticString) { if plant != .readWithoutFence { words.fenceAcquiring(step) } }
  func fenceReleasing(_ step: StaticString) { if plant != .writeWithoutFence { words.fenceReleasing(step) } }
  func spin(_ round: Int) -> Bool { words.spin(round) }
  func hasPassed(_ deadline: Deadline) -> Bool { words.hasPassed(deadline) }
  func slice(_ deadline: Deadline) -> Deadline { words.slice(deadline) }
}

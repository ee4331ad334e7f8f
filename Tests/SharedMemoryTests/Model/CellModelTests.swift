// SPDX-License-Identifier: Apache-2.0

@_spi(Testing) import SharedMemory
import Testing
import _TestSupport

/// The cell in every order of its steps: no value is torn, whoever dies where.
@Suite struct CellModelTests {
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
struct PlantedCellWords: ForwardingWords {
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
  func storeReleasing(_ value: UInt64, _ offset: Int, _ step: StaticString) {
    if plant == .sequenceRelaxed {
      words.storeRelaxed(value, offset, step)
    } else {
      words.storeReleasing(value, offset, step)
    }
  }
  func fenceAcquiring(_ step: StaticString) { if plant != .readWithoutFence { words.fenceAcquiring(step) } }
  func fenceReleasing(_ step: StaticString) { if plant != .writeWithoutFence { words.fenceReleasing(step) } }
}

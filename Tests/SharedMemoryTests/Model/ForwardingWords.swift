// SPDX-License-Identifier: Apache-2.0

@_spi(Testing) import SharedMemory

/// The words of a model, of which a test changes some steps: it writes those, and all others pass.
protocol ForwardingWords: SharedWords {
  var words: ModelWords { get }
}

extension ForwardingWords {
  func loadRelaxed(_ offset: Int, _ step: StaticString) -> UInt64 { words.loadRelaxed(offset, step) }
  func loadAcquiring(_ offset: Int, _ step: StaticString) -> UInt64 { words.loadAcquiring(offset, step) }
  func storeRelaxed(_ value: UInt64, _ offset: Int, _ step: StaticString) { words.storeRelaxed(value, offset, step) }
  func storeReleasing(_ value: UInt64, _ offset: Int, _ step: StaticString) {
    words.storeReleasing(value, offset, step)
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
  func fenceAcquiring(_ step: StaticString) { words.fenceAcquiring(step) }
  func fenceReleasing(_ step: StaticString) { words.fenceReleasing(step) }
  func spin(_ round: Int, of limit: Int) -> Bool { words.spin(round, of: limit) }
  func spinBriefly(_ round: Int) -> Bool { words.spinBriefly(round) }
  func hasPassed(_ deadline: Deadline) -> Bool { words.hasPassed(deadline) }
  func slice(_ deadline: Deadline) -> Deadline { words.slice(deadline) }
}

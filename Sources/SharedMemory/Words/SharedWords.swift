// SPDX-License-Identifier: Apache-2.0

/// The memory that a protocol between processes works on: words, and nothing else.
///
/// The protocols (event, ring, broadcast, cell) are written over this, so that the code which runs on real memory is the code which the
/// tests explore: there the words are a model in which every interleaving, every permitted old value and a death after every step is
/// tried. Offsets are in bytes from the start of the part. Each call names its step: test builds can kill the process there.
@_spi(Testing) public protocol SharedWords {
  func loadRelaxed(_ offset: Int, _ step: StaticString) -> UInt64
  func loadAcquiring(_ offset: Int, _ step: StaticString) -> UInt64
  func storeRelaxed(_ value: UInt64, _ offset: Int, _ step: StaticString)
  func storeReleasing(_ value: UInt64, _ offset: Int, _ step: StaticString)
  /// Acquires and releases. True when the word held `expected`.
  func compareExchange(_ expected: UInt64, _ desired: UInt64, _ offset: Int, _ step: StaticString) -> Bool

  // Words of 32 bits, which the kernel can sleep on.
  func loadCount(_ offset: Int, _ step: StaticString) -> UInt32
  /// Acquires and releases. The new value.
  func addCount(_ offset: Int, _ step: StaticString) -> UInt32
  func storeHint(_ value: UInt32, _ offset: Int, _ step: StaticString)
  func loadHint(_ offset: Int, _ step: StaticString) -> UInt32
  /// Acquires and releases. True when the word held `expected`.
  func compareExchangeHint(_ expected: UInt32, _ desired: UInt32, _ offset: Int, _ step: StaticString) -> Bool
  /// Sleeps while the count is `expected`, at most until the deadline. May return early, for no reason.
  func sleep(_ offset: Int, while expected: UInt32, until deadline: Deadline, _ step: StaticString)
  func wake(_ offset: Int, _ step: StaticString)

  /// All before it is seen by all before all after it: what orders a store before a load of another word.
  func fence(_ step: StaticString)
  /// What was loaded before is loaded before all that follows, and sees what was released to it.
  func fenceAcquiring(_ step: StaticString)
  /// All before is stored before any store that follows.
  func fenceReleasing(_ step: StaticString)
  /// A moment of waiting without giving the processor away. False once waiting that way is no use any more.
  func spin(_ round: Int) -> Bool
  func hasPassed(_ deadline: Deadline) -> Bool
  /// The deadline, or the end of the sleeper's patience: who was killed between making something and waking us is not waited for longer.
  func slice(_ deadline: Deadline) -> Deadline
}

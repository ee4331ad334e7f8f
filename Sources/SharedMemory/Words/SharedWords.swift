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
  /// A moment of waiting without giving the processor away, so many at most. False once waiting that way is no use any more.
  func spin(_ round: Int, of limit: Int) -> Bool
  /// The same for who keeps no ``SpinRecord``: where the two may share a processor it is of use for less long.
  func spinBriefly(_ round: Int) -> Bool
  func hasPassed(_ deadline: Deadline) -> Bool
  /// The deadline, or the end of the sleeper's patience: who was killed between making something and waking us is not waited for longer.
  func slice(_ deadline: Deadline) -> Deadline
}

/// Whether spinning was of use lately. It is none while the other end is slow, or cannot run because both are bound to one processor: then one wait in eight tries it for
/// some microseconds, which is enough for a peer that is at it again, and one in 64 as long as ever.
@_spi(Testing) public struct SpinRecord: Sendable {
  /// Waits in a row that were over only after a sleep.
  private var failures: UInt = 0

  public init() {}

  /// For how many moments the next wait spins.
  public var limit: Int {
    if failures < 4 || failures & 63 == 0 { return Self.most }
    return failures & 7 == 0 ? Self.few : 0
  }

  /// Some tens of microseconds cover the answer of a peer that runs on another processor.
  public static let most = 2000
  public static let few = 100

  public mutating func count(slept: Bool) { failures = slept ? failures &+ 1 : 0 }
}

/// Whether a receiver that has read all lets the sender get ahead before it looks again.
///
/// At the heels of its sender it has the same cache lines go from processor to processor with each message, and both pay. Some
/// microseconds later a hundred messages are there, at half the price for both. That is of use in a stream without a pause, and costs these
/// moments where the sender waits for us, as in a dialogue. Nobody can tell beforehand: it is tried in one wait of 64, in one of up to 1024
/// where it was of no use, and grows while it is. Not for channels that overwrite: there, who comes later loses more.
@_spi(Testing) public struct LeadRecord: Sendable {
  /// Waits until the next try; none: the sender is given a lead.
  private var remaining: UInt32 = Self.shortestPause
  private var pause: UInt32 = Self.shortestPause
  /// How long the lead is.
  public private(set) var moments = Self.shortest

  public static let shortest = 16
  /// 6 us where a moment is 25 ns.
  public static let longest = 256
  private static let shortestPause: UInt32 = 64
  private static let longestPause: UInt32 = 1024

  public init() {}

  /// Whether the next look waits for ``moments`` first.
  @inline(__always)
  public var isGiven: Bool { remaining == 0 }

  /// A wait without a lead is over.
  public mutating func pass() { if remaining > 0 { remaining &-= 1 } }

  /// A lead was given, and so many messages were there then. It was of use where each came within three moments.
  public mutating func count(_ messages: Int) {
    if messages >= moments / 3 {
      pause = Self.shortestPause
      moments = min(moments &* 2, Self.longest)
    } else {
      moments = Self.shortest
      remaining = pause
      pause = min(pause &* 2, Self.longestPause)
    }
  }
}

/// A word of a part, and its value as long as there is nothing.
@_spi(Testing) public struct AwaitedWord: Sendable, Hashable {
  /// From the start of the part.
  public let offset: Int
  public let value: UInt64
}

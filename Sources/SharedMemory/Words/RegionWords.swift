// SPDX-License-Identifier: Apache-2.0

internal import CPlatform
internal import Synchronization

/// The words of a part of a region, by the processor's atomic instructions.
/// Whoever makes one vouches that the part lies at `base` and is as long as its protocol's offsets say.
@safe
internal struct RegionWords: SharedWords {
  internal let base: UnsafeMutableRawPointer

  @inline(__always)
  private func word(_ offset: Int) -> UnsafeMutablePointer<Atomic<UInt64>> {
    unsafe (base + offset).assumingMemoryBound(to: Atomic<UInt64>.self)
  }

  @inline(__always)
  private func count(_ offset: Int) -> UnsafeMutablePointer<Atomic<UInt32>> {
    unsafe (base + offset).assumingMemoryBound(to: Atomic<UInt32>.self)
  }

  @inline(__always)
  internal func loadRelaxed(_ offset: Int, _ step: StaticString) -> UInt64 {
    KillPoints.pass(step)
    return unsafe word(offset).pointee.load(ordering: .relaxed)
  }

  @inline(__always)
  internal func loadAcquiring(_ offset: Int, _ step: StaticString) -> UInt64 {
    KillPoints.pass(step)
    return unsafe word(offset).pointee.load(ordering: .acquiring)
  }

  @inline(__always)
  internal func storeRelaxed(_ value: UInt64, _ offset: Int, _ step: StaticString) {
    KillPoints.pass(step)
    unsafe word(offset).pointee.store(value, ordering: .relaxed)
  }

  @inline(__always)
  internal func storeReleasing(_ value: UInt64, _ offset: Int, _ step: StaticString) {
    KillPoints.pass(step)
    unsafe word(offset).pointee.store(value, ordering: .releasing)
  }

  @inline(__always)
  internal func compareExchange(_ expected: UInt64, _ desired: UInt64, _ offset: Int, _ step: StaticString) -> Bool {
    KillPoints.pass(step)
    return unsafe word(offset).pointee.compareExchange(
      expected: expected, desired: desired, ordering: .acquiringAndReleasing
    ).exchanged
  }

  @inline(__always)
  internal func loadCount(_ offset: Int, _ step: StaticString) -> UInt32 {
    KillPoints.pass(step)
    return unsafe count(offset).pointee.load(ordering: .acquiring)
  }

  @inline(__always)
  internal func addCount(_ offset: Int, _ step: StaticString) -> UInt32 {
    KillPoints.pass(step)
    return unsafe count(offset).pointee.wrappingAdd(1, ordering: .acquiringAndReleasing).newValue
  }

  @inline(__always)
  internal func storeHint(_ value: UInt32, _ offset: Int, _ step: StaticString) {
    KillPoints.pass(step)
    unsafe count(offset).pointee.store(value, ordering: .relaxed)
  }

  @inline(__always)
  internal func loadHint(_ offset: Int, _ step: StaticString) -> UInt32 {
    KillPoints.pass(step)
    return unsafe count(offset).pointee.load(ordering: .relaxed)
  }

  @inline(__always)
  internal func compareExchangeHint(_ expected: UInt32, _ desired: UInt32, _ offset: Int, _ step: StaticString) -> Bool
  {
    KillPoints.pass(step)
    return unsafe count(offset).pointee.compareExchange(
      expected: expected, desired: desired, ordering: .acquiringAndReleasing
    ).exchanged
  }

  @inline(never)
  internal func sleep(_ offset: Int, while expected: UInt32, until deadline: Deadline, _ step: StaticString) {
    KillPoints.pass(step)
    _ = unsafe pgw_word_wait((base + offset).assumingMemoryBound(to: UInt32.self), expected, deadline.nanoseconds)
  }

  @inline(never)
  internal func wake(_ offset: Int, _ step: StaticString) {
    KillPoints.pass(step)
    _ = unsafe pgw_word_wake((base + offset).assumingMemoryBound(to: UInt32.self), .max)
  }

  @inline(__always)
  internal func fence(_ step: StaticString) {
    KillPoints.pass(step)
    atomicMemoryFence(ordering: .sequentiallyConsistent)
  }

  @inline(__always)
  internal func fenceAcquiring(_ step: StaticString) {
    KillPoints.pass(step)
    atomicMemoryFence(ordering: .acquiring)
  }

  @inline(__always)
  internal func fenceReleasing(_ step: StaticString) {
    KillPoints.pass(step)
    atomicMemoryFence(ordering: .releasing)
  }

  /// With one processor the peer cannot run meanwhile.
  @inline(__always)
  internal func spin(_ round: Int, of limit: Int) -> Bool {
    guard round < limit, Self.isOfUse else { return false }
    pgw_pause()
    return true
  }

  @inline(__always)
  internal func spinBriefly(_ round: Int) -> Bool {
    guard round < Self.briefRounds else { return false }
    pgw_pause()
    return true
  }

  internal func hasPassed(_ deadline: Deadline) -> Bool { deadline.hasPassed }

  internal func slice(_ deadline: Deadline) -> Deadline { min(deadline, .after(Self.patience)) }

  /// Four wake-ups a second cost an idle sleeper some microseconds of processor time in each.
  internal static let patience = Duration.milliseconds(250)
  private static let isOfUse = pgw_processor_count() > 1
  /// Bound to one processor, this thread may have its peer on another one or on the same.
  private static let briefRounds = isOfUse ? pgw_allowed_processor_count() > 1 ? SpinRecord.most : 200 : 0
}

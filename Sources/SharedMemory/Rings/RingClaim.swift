// SPDX-License-Identifier: Apache-2.0

internal import CPlatform

/// Room for a message in a ring, to be filled in place: committed, or given up.
///
/// ```swift
/// var claim = try orders.reserve(4096)
/// var bytes = claim.mutableBytes
/// let count = try encode(into: &bytes)
/// claim.commit(byteCount: count)
/// ```
///
/// Nothing of it is shared before ``commit(byteCount:type:)``: a claim that ends otherwise, by a thrown error or by the death of the process, has sent nothing.
/// The producer cannot be used while a claim of its lives.
@safe
public struct RingClaim: ~Copyable, ~Escapable {
  private let outbox: UnsafeMutablePointer<RingOutbox<RegionWords>>
  private let place: RingLaneProducer<RegionWords>.Place
  private let base: UnsafeMutableRawPointer
  private let generation: UInt64
  /// Bytes that there is room for: what was asked for.
  public var byteCount: Int { place.byteCount }

  @_lifetime(borrow base)
  internal init(
    _ outbox: UnsafeMutablePointer<RingOutbox<RegionWords>>, _ place: RingLaneProducer<RegionWords>.Place,
    _ base: UnsafeMutableRawPointer, _ generation: UInt64
  ) {
    unsafe self.outbox = outbox
    self.place = place
    unsafe self.base = unsafe base
    self.generation = generation
  }

  /// The message's bytes, which hold old ones until they are written.
  public var mutableBytes: MutableRawSpan {
    @_lifetime(&self)
    mutating get {
      let span = unsafe MutableRawSpan(_unsafeStart: base, byteCount: byteCount)
      return unsafe _overrideLifetime(span, mutating: &self)
    }
  }

  /// Sends the message: one store. In a forked child, whose copy of the claim is nothing, it does nothing.
  ///
  /// - Parameters:
  ///   - byteCount: how much of the room it has; all of it by default.
  ///   - type: the sender's affair.
  public consuming func commit(byteCount: Int? = nil, type: UInt16 = 0) {
    unsafe Self.commit(outbox, place, byteCount ?? place.byteCount, type, generation)
  }

  private static func commit(
    _ outbox: UnsafeMutablePointer<RingOutbox<RegionWords>>, _ place: RingLaneProducer<RegionWords>.Place,
    _ byteCount: Int, _ type: UInt16, _ generation: UInt64
  ) {
    precondition(
      byteCount >= 0 && byteCount <= place.byteCount,
      "RingClaim.commit: a message has at most the bytes that were asked for")
    if pgw_fork_generation() == generation { unsafe outbox.pointee.commit(place, byteCount: byteCount, type: type) }
  }

  /// Gives the room up; the same as letting the claim end.
  public consuming func abort() {}
}

extension RingProducer {
  /// Room for a message of at most `byteCount` bytes, waiting for it.
  ///
  /// - Throws: ``SharedMemoryError``: `timedOut`, `invalidArgument` (too long), `distrusted` (write with ``send(upTo:type:until:_:)``), `peerMisbehaved`, `faulted`,
  ///   `forked`.
  @available(*, noasync, message: "it may block the thread")
  @_lifetime(&self)
  public mutating func reserve(_ byteCount: Int, until deadline: Deadline = .never) throws(SharedMemoryError)
    -> RingClaim
  {
    guard let place = try reservePlace(byteCount, until: deadline) else { throw error(.timedOut) }
    if distrusts { throw error(.distrusted) }
    let claim = unsafe RingClaim(outbox, place, base + place.offset, storage.generation)
    return unsafe _overrideLifetime(claim, mutating: &self)
  }
}

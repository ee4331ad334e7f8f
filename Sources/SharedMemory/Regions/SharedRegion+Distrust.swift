// SPDX-License-Identifier: Apache-2.0

extension SharedRegion {
  /// The same region, for a process whose peers may write anything anywhere in it at any time: hostile ones, or ones with mistakes of their own.
  ///
  /// ```swift
  /// let region = try SharedRegion(connectingTo: path).distrustingPeers()
  /// ```
  ///
  /// What such a peer can do then is to send nonsense, to lose messages, or to stop sending; not more. In detail:
  ///
  /// - the region's size must be sealed, so that no page of it can be lost;
  /// - sizes and places come from a header that was copied and checked once;
  /// - each word that peers write is read once, and checked before it is used;
  /// - messages are copied before anybody looks at them, and nothing of the region is lent: ``withBytes(_:_:)`` and ``RingProducer/reserve(_:until:)`` throw
  ///   `distrusted`; ``bytes(_:_:)`` and ``store(_:in:at:)`` copy;
  /// - a mutex, whose words the C library and the kernel follow, cannot be had;
  /// - a channel end that meets what no peer that keeps to the protocol writes throws `peerMisbehaved`, and from then on each time.
  ///
  /// Whether peers live is still asked of the kernel, but who they are stands in the region: a hostile peer can pretend to be another, and hold what that one
  /// has. Waits that must end have a deadline.
  ///
  /// - Throws: ``SharedMemoryError``: `unsealed` for a region whose file can be cut, which includes all that have a name.
  public consuming func distrustingPeers() throws(SharedMemoryError) -> SharedRegion {
    guard isSealed else { throw SharedMemoryError(.unsealed, "distrust the peers of", region: name) }
    return SharedRegion(storage, label: label, distrustsPeers: true)
  }

  /// Copies plain bytes of a part while others may write them.
  ///
  /// - Parameters:
  ///   - part: a part of kind `bytes`.
  ///   - range: in bytes from the start of the part.
  /// - Throws: ``SharedMemoryError``: `noSuchPart`, `layoutDiffers`, `invalidArgument`, `faulted`, `forked`.
  public borrowing func bytes(_ part: String, _ range: Range<Int>) throws(SharedMemoryError) -> [UInt8] {
    try storage.bytes(part, range)
  }

  /// Copies bytes into a part while others may read and write them.
  ///
  /// - Parameters:
  ///   - bytes: what to store.
  ///   - part: a part of kind `bytes`.
  ///   - offset: in bytes from the start of the part.
  /// - Throws: ``SharedMemoryError``: `noSuchPart`, `layoutDiffers`, `invalidArgument`, `faulted`, `forked`.
  public borrowing func store(_ bytes: RawSpan, in part: String, at offset: Int) throws(SharedMemoryError) {
    let placed = try storage.part(part, .bytes, "write to")
    guard offset >= 0, offset <= placed.part.byteCount, bytes.byteCount <= placed.part.byteCount - offset else {
      throw SharedMemoryError(
        .invalidArgument, "write to", region: name, part: part, note: "it has \(placed.part.byteCount) bytes")
    }
    let start = unsafe storage.base + placed.offset + offset
    unsafe bytes.withUnsafeBytes {
      if let from = $0.baseAddress { unsafe start.copyMemory(from: from, byteCount: $0.count) }
    }
    try storage.checkFault("write to")
  }
}

extension RegionStorage {
  internal func bytes(_ part: String, _ range: Range<Int>) throws(SharedMemoryError) -> [UInt8] {
    let placed = try self.part(part, .bytes, "read")
    guard range.lowerBound >= 0, range.upperBound <= placed.part.byteCount else {
      throw SharedMemoryError(
        .invalidArgument, "read", region: name, part: part, note: "it has \(placed.part.byteCount) bytes")
    }
    let from = unsafe base + placed.offset + range.lowerBound
    let copy = unsafe [UInt8](unsafeUninitializedCapacity: range.count) { buffer, count in
      if range.count > 0 {
        unsafe buffer.baseAddress!.initialize(from: from.assumingMemoryBound(to: UInt8.self), count: range.count)
      }
      count = range.count
    }
    try checkFault("read")
    return copy
  }
}

// SPDX-License-Identifier: Apache-2.0

/// What a ring channel is doing, read beside its users and without their notice.
public struct RingStatus: Sendable, Hashable {
  public struct Lane: Sendable, Hashable {
    /// Who sends; ``PeerToken/none`` for nobody.
    public let producer: PeerToken
    /// Proved by the kernel; false for nobody.
    public let isProducerDead: Bool
    /// Bytes ever sent, with the words before each message and what was left at the end of the ring.
    public let sentBytes: UInt64
    /// Bytes of them that were received.
    public let receivedBytes: UInt64
    /// Messages that ``RingProducer/sendOrDrop(_:type:)`` did not send.
    public let droppedMessages: UInt64

    /// Bytes that wait. Two words that are read one after the other: a moment of each.
    public var waitingBytes: UInt64 { sentBytes > receivedBytes ? sentBytes - receivedBytes : 0 }
  }

  /// Who receives; ``PeerToken/none`` for nobody.
  public let consumer: PeerToken
  public let isConsumerDead: Bool
  /// Bytes of data in each lane.
  public let capacity: Int
  public let lanes: [Lane]
}

extension RegionStorage {
  fileprivate func ringStatus(_ name: String) throws(SharedMemoryError) -> RingStatus {
    let (shape, offset) = try ring(name, "look at")
    let words = unsafe RegionWords(base: base + offset)
    let lanes = (0..<shape.laneCount).map { index in
      let lane = shape.lane(index)
      let (producer, isDead) = OwnerWord.look(words, lane + RingLane.token, self)
      // The head first: what is received is never more than what is sent.
      let head = words.loadAcquiring(lane + RingLane.head, "status.head")
      return RingStatus.Lane(
        producer: producer, isProducerDead: isDead, sentBytes: words.loadAcquiring(lane + RingLane.tail, "status.tail"),
        receivedBytes: head, droppedMessages: words.loadRelaxed(lane + RingLane.dropped, "status.dropped"))
    }
    let (consumer, isDead) = OwnerWord.look(words, RingShape.consumer, self)
    try checkFault("look at")
    return RingStatus(consumer: consumer, isConsumerDead: isDead, capacity: shape.capacity, lanes: lanes)
  }
}

extension SharedRegion {
  /// What a ring channel is doing.
  ///
  /// - Throws: ``SharedMemoryError``: `noSuchPart`, `layoutDiffers`, `damaged`, `faulted`, `forked`.
  public borrowing func ringStatus(_ name: String) throws(SharedMemoryError) -> RingStatus {
    try storage.ringStatus(name)
  }
}

extension SharedRegionReader {
  /// What a ring channel is doing.
  ///
  /// - Throws: ``SharedMemoryError``: `noSuchPart`, `layoutDiffers`, `damaged`, `faulted`.
  public borrowing func ringStatus(_ name: String) throws(SharedMemoryError) -> RingStatus {
    try storage.ringStatus(name)
  }
}

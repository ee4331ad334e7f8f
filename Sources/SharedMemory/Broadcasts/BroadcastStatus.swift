// SPDX-License-Identifier: Apache-2.0

/// What a broadcast channel is doing, read beside its users and without their notice.
public struct BroadcastStatus: Sendable, Hashable {
  /// A reader that loses nothing: the writer waits for it while it lives.
  public struct Follower: Sendable, Hashable {
    public let token: PeerToken
    /// Proved by the kernel.
    public let isDead: Bool
    /// Bytes that it has not read, with the words around each message.
    public let waitingBytes: UInt64
  }

  /// Who sends; ``PeerToken/none`` for nobody.
  public let writer: PeerToken
  /// Proved by the kernel; false for nobody.
  public let isWriterDead: Bool
  /// Bytes of data that are kept.
  public let capacity: Int
  /// Bytes ever sent, with the words around each message.
  public let sentBytes: UInt64
  /// Messages that ``BroadcastWriter/sendOrDrop(_:type:)`` did not send.
  public let droppedMessages: UInt64
  /// How many followers can be at once.
  public let followerLimit: Int
  /// Those that are, in the order of their places.
  public let followers: [Follower]
}

extension RegionStorage {
  fileprivate func broadcastStatus(_ name: String) throws(SharedMemoryError) -> BroadcastStatus {
    let (shape, offset) = try broadcast(name, "look at")
    let words = unsafe RegionWords(base: base + offset)
    var followers: [BroadcastStatus.Follower] = []
    for index in 0..<shape.followerLimit {
      let place = shape.place(index)
      let (token, isDead) = OwnerWord.look(words, place, self)
      if token == .none { continue }
      // The head first: what was read is never more than what was sent. One that is joining may have its predecessor's.
      let head = words.loadAcquiring(place + BroadcastShape.head, "status.follower.head")
      let tail = words.loadAcquiring(BroadcastShape.tail, "status.tail")
      followers.append(
        BroadcastStatus.Follower(token: token, isDead: isDead, waitingBytes: tail > head ? tail - head : 0))
    }
    let (writer, isDead) = OwnerWord.look(words, BroadcastShape.token, self)
    let status = BroadcastStatus(
      writer: writer, isWriterDead: isDead, capacity: shape.capacity,
      sentBytes: words.loadAcquiring(BroadcastShape.tail, "status.tail"),
      droppedMessages: words.loadRelaxed(BroadcastShape.dropped, "status.dropped"), followerLimit: shape.followerLimit,
      followers: followers)
    try checkFault("look at")
    return status
  }
}

extension SharedRegion {
  /// What a broadcast channel is doing.
  ///
  /// - Throws: ``SharedMemoryError``: `noSuchPart`, `layoutDiffers`, `damaged`, `faulted`, `forked`.
  public borrowing func broadcastStatus(_ name: String) throws(SharedMemoryError) -> BroadcastStatus {
    try storage.broadcastStatus(name)
  }
}

extension SharedRegionReader {
  /// What a broadcast channel is doing.
  ///
  /// - Throws: ``SharedMemoryError``: `noSuchPart`, `layoutDiffers`, `damaged`, `faulted`.
  public borrowing func broadcastStatus(_ name: String) throws(SharedMemoryError) -> BroadcastStatus {
    try storage.broadcastStatus(name)
  }
}

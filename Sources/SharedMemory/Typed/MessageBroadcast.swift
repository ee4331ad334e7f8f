// SPDX-License-Identifier: Apache-2.0

public import MemoryMapping

/// The sending end of a broadcast channel whose messages have a type. See ``BroadcastWriter`` for all that is not about types.
///
/// ```swift
/// let region = try SharedRegion(creating: RegionLayout(.broadcast("prices", of: Price.self, capacity: 1 << 16)))
/// var prices = try region.broadcastWriter(of: "prices", sending: Price.self)
/// try prices.send(price)
/// ```
public struct MessageBroadcastWriter<Coding: MessageCoding>: ~Copyable, @unchecked Sendable {
  /// The end below, which sends bytes.
  public var channel: BroadcastWriter
  /// Messages are encoded here.
  private var scratch = Scratch()

  internal init(_ channel: consuming BroadcastWriter) { self.channel = channel }

  /// Sends a message to all readers, waiting for followers that have no room.
  ///
  /// - Throws: as `BroadcastWriter.send(_:type:until:)`, or what the coding throws: then nothing is sent.
  @available(*, noasync, message: "it may block the thread; without followers, trySend does the same")
  public mutating func send(_ message: Coding.Message, until deadline: Deadline = .never) throws {
    let byteCount = try encode(message)
    try unsafe channel.send(RawSpan(_unsafeStart: scratch.start, byteCount: byteCount), until: deadline)
  }

  /// Sends a message to all readers, suspending the task while a follower has no room.
  nonisolated(nonsending)
    public mutating func send(_ message: Coding.Message, until deadline: Deadline = .never) async throws
  {
    let byteCount = try encode(message)
    try await unsafe channel.send(RawSpan(_unsafeStart: scratch.start, byteCount: byteCount), until: deadline)
  }

  /// Sends a message to all readers, unless a follower has no room now: false then.
  public mutating func trySend(_ message: Coding.Message) throws -> Bool {
    let byteCount = try encode(message)
    return try unsafe channel.trySend(RawSpan(_unsafeStart: scratch.start, byteCount: byteCount))
  }

  /// How many bytes it has, at the start of the scratch.
  private mutating func encode(_ message: Coding.Message) throws -> Int {
    let limit = Coding.byteLimit(of: message)
    // What is longer than any message is told by the channel.
    guard 0...channel.messageLimit ~= limit else { throw channel.refusal(limit) }
    var room = unsafe MutableRawSpan(_unsafeStart: scratch.room(limit), byteCount: limit)
    let byteCount = try Coding.encode(message, into: &room)
    precondition(0...limit ~= byteCount, "MessageCoding.encode: a message has at most the bytes of its limit")
    return byteCount
  }
}

/// A receiving end of a broadcast channel whose messages have a type. See ``BroadcastReader`` for all that is not about types.
///
/// A message that cannot be decoded is not received: the error comes again until ``skip()`` passes over it, unless it is lost before.
public struct MessageBroadcastReader<Coding: MessageCoding>: ~Copyable, Sendable {
  /// The end below, which receives bytes.
  public var channel: BroadcastReader

  /// A message, and what the channel says of it.
  public struct Received {
    public let message: Coding.Message
    /// Its type and number, and how many were lost before it.
    public let header: BroadcastReader.Message
  }

  internal init(_ channel: consuming BroadcastReader) { self.channel = channel }

  /// Receives a message, waiting for it.
  ///
  /// - Throws: as `BroadcastReader.receive(until:_:)`, or what the coding throws.
  @available(*, noasync, message: "it blocks the thread")
  public mutating func receive(until deadline: Deadline = .never) throws -> Received {
    try channel.receive(until: deadline) { try Self.decode($0, $1) }
  }

  /// Receives a message, suspending the task until there is one.
  nonisolated(nonsending) public mutating func receive(until deadline: Deadline = .never) async throws -> Received {
    while true {
      if let received = try channel.receiveNow(until: deadline, { try Self.decode($0, $1) }) { return received }
      try await channel.waitForMessage(until: deadline)
    }
  }

  /// Receives a message if there is one now; nil when there is none.
  public mutating func tryReceive() throws -> Received? { try channel.tryReceive { try Self.decode($0, $1) } }

  /// Passes over the next message. False when there is none.
  public mutating func skip() throws -> Bool { try channel.tryReceive { _, _ in true } ?? false }

  /// All that comes, as batches of up to `limit` messages, for `for try await`. One that cannot be decoded ends the sequence with the coding's error, after all
  /// those before it.
  ///
  /// - Parameter limit: messages, 1 or more.
  public consuming func batches(upTo limit: Int = 256) -> ChannelBatches<[Received]> {
    precondition(limit > 0, "MessageBroadcastReader.batches: a batch has room for a message")
    var reader = self
    reader.giveBack()
    return ChannelBatches(reader, upTo: limit)
  }

  private static func decode(_ bytes: RawSpan, _ header: BroadcastReader.Message) throws -> Received {
    Received(message: try Coding.decode(bytes), header: header)
  }
}

extension MessageBroadcastReader.Received: Sendable where Coding.Message: Sendable {}

extension MessageBroadcastReader: BatchEnd {
  internal typealias Batch = [Received]

  internal mutating func takeCopies(upTo limit: Int) throws -> [Received] {
    var batch: [Received] = []
    do {
      _ = try channel.take(upTo: limit, until: .never) { bytes, header in batch.append(try Self.decode(bytes, header)) }
    } catch {
      // After others it is met again.
      if batch.isEmpty { throw error }
    }
    return batch
  }
  internal mutating func giveBack() { channel.giveBack() }
  internal mutating func rewind() { channel.rewind() }
  nonisolated(nonsending) internal mutating func waitForMessage(until deadline: Deadline) async throws {
    try await channel.waitForMessage(until: deadline)
  }
  internal mutating func error(_ code: SharedMemoryError.Code) -> SharedMemoryError { channel.error(code) }
}

extension RegionLayout.Part {
  /// A broadcast channel whose messages are of a type with a fixed layout. Whoever opens an end checks the layout.
  ///
  /// - Parameters: as ``broadcast(_:capacity:followers:)``.
  public static func broadcast<Message: FixedLayout>(
    _ name: String, of type: Message.Type, capacity: Int, followers: Int = 0
  ) -> RegionLayout.Part {
    broadcast(name, coding: FixedLayoutCoding<Message>.self, capacity: capacity, followers: followers)
  }

  /// A broadcast channel whose messages have a coding of the caller's. Whoever opens an end checks its layout hash.
  public static func broadcast<Coding: MessageCoding>(
    _ name: String, coding: Coding.Type, capacity: Int, followers: Int = 0
  ) -> RegionLayout.Part {
    var part = broadcast(name, capacity: capacity, followers: followers)
    part.layoutHash = Coding.layoutHash
    return part
  }
}

extension SharedRegion {
  /// The sending end of a broadcast of messages with a fixed layout.
  ///
  /// - Throws: ``SharedMemoryError``: as ``broadcastWriter(of:)``; `layoutDiffers` when the channel was made for another type.
  public borrowing func broadcastWriter<Message: FixedLayout>(
    of name: String, sending type: Message.Type
  ) throws(SharedMemoryError) -> MessageBroadcastWriter<FixedLayoutCoding<Message>> {
    try broadcastWriter(of: name, coding: FixedLayoutCoding<Message>.self)
  }

  /// The sending end of a broadcast of messages with a coding.
  public borrowing func broadcastWriter<Coding: MessageCoding>(
    of name: String, coding: Coding.Type
  ) throws(SharedMemoryError) -> MessageBroadcastWriter<Coding> {
    try storage.checkCoding(name, .broadcast, coding, "send to")
    return MessageBroadcastWriter(try broadcastWriter(of: name))
  }

  /// A receiving end of a broadcast of messages with a fixed layout.
  ///
  /// - Throws: ``SharedMemoryError``: as ``broadcastReader(of:from:losing:)``; `layoutDiffers` when the channel was made for another type.
  public borrowing func broadcastReader<Message: FixedLayout>(
    of name: String, receiving type: Message.Type, from start: BroadcastReader.Start = .next,
    losing loss: BroadcastReader.Loss = .oldest
  ) throws(SharedMemoryError) -> MessageBroadcastReader<FixedLayoutCoding<Message>> {
    try broadcastReader(of: name, coding: FixedLayoutCoding<Message>.self, from: start, losing: loss)
  }

  /// A receiving end of a broadcast of messages with a coding.
  public borrowing func broadcastReader<Coding: MessageCoding>(
    of name: String, coding: Coding.Type, from start: BroadcastReader.Start = .next,
    losing loss: BroadcastReader.Loss = .oldest
  ) throws(SharedMemoryError) -> MessageBroadcastReader<Coding> {
    try storage.checkCoding(name, .broadcast, coding, "receive from")
    return MessageBroadcastReader(try broadcastReader(of: name, from: start, losing: loss))
  }
}

extension SharedRegionReader {
  /// A receiving end of a broadcast of messages with a fixed layout, that loses the oldest messages when it is too slow.
  ///
  /// - Throws: ``SharedMemoryError``: `noSuchPart`, `layoutDiffers`.
  public borrowing func broadcastReader<Message: FixedLayout>(
    of name: String, receiving type: Message.Type, from start: BroadcastReader.Start = .next
  ) throws(SharedMemoryError) -> MessageBroadcastReader<FixedLayoutCoding<Message>> {
    try broadcastReader(of: name, coding: FixedLayoutCoding<Message>.self, from: start)
  }

  /// A receiving end of a broadcast of messages with a coding, that loses the oldest messages when it is too slow.
  ///
  /// - Throws: ``SharedMemoryError``: `noSuchPart`, `layoutDiffers`.
  public borrowing func broadcastReader<Coding: MessageCoding>(
    of name: String, coding: Coding.Type, from start: BroadcastReader.Start = .next
  ) throws(SharedMemoryError) -> MessageBroadcastReader<Coding> {
    try storage.checkCoding(name, .broadcast, coding, "receive from")
    return MessageBroadcastReader(try broadcastReader(of: name, from: start))
  }
}

// SPDX-License-Identifier: Apache-2.0

public import MemoryMapping

/// The sending end of a ring channel whose messages have a type.
///
/// ```swift
/// let region = try SharedRegion(creating: RegionLayout(.ring("orders", of: Order.self, capacity: 1 << 20)))
/// var orders = try region.producer(of: "orders", sending: Order.self)
/// try orders.send(order)
/// ```
///
/// Messages are encoded in place, without a copy between. See ``RingProducer`` for all that is not about types.
public struct MessageProducer<Coding: MessageCoding>: ~Copyable, Sendable {
  /// The end below, which sends bytes.
  public var ring: RingProducer

  internal init(_ ring: consuming RingProducer) { self.ring = ring }

  /// Sends a message, waiting for room.
  ///
  /// - Throws: as ``RingProducer/send(upTo:type:until:_:)``, or what the coding throws: then nothing is sent.
  @available(*, noasync, message: "it blocks the thread")
  @inlinable
  public mutating func send(_ message: Coding.Message, until deadline: Deadline = .never) throws {
    try ring.send(upTo: Coding.byteLimit(of: message), until: deadline) { try Coding.encode(message, into: &$0) }
  }

  /// Sends a message, suspending the task until there is room.
  @inlinable
  nonisolated(nonsending)
    public mutating func send(_ message: Coding.Message, until deadline: Deadline = .never) async throws
  {
    while try !trySend(message) {
      try await ring.waitForRoom(Coding.byteLimit(of: message), until: deadline)
    }
  }

  /// Sends a message if there is room now; false when there is none.
  @inlinable
  public mutating func trySend(_ message: Coding.Message) throws -> Bool {
    try ring.trySend(upTo: Coding.byteLimit(of: message)) { try Coding.encode(message, into: &$0) }
  }
}

/// The receiving end of a ring channel whose messages have a type.
///
/// A message that cannot be decoded is not received: the error comes again until ``skip()`` passes over it.
public struct MessageConsumer<Coding: MessageCoding>: ~Copyable, Sendable {
  /// The end below, which receives bytes.
  public var ring: RingConsumer

  internal init(_ ring: consuming RingConsumer) { self.ring = ring }

  /// Receives a message, waiting for it.
  ///
  /// - Throws: as `RingConsumer.receive(until:_:)`, or what the coding throws.
  @available(*, noasync, message: "it blocks the thread")
  @inlinable
  public mutating func receive(until deadline: Deadline = .never) throws -> Coding.Message {
    try ring.receive(until: deadline) { bytes, _ in try Coding.decode(bytes) }
  }

  /// Receives a message, suspending the task until there is one.
  @inlinable
  nonisolated(nonsending)
    public mutating func receive(until deadline: Deadline = .never) async throws -> Coding.Message
  {
    while true {
      if let message = try tryReceive() { return message }
      try await ring.waitForMessage(until: deadline)
    }
  }

  /// Receives a message if there is one now; nil when there is none.
  @inlinable
  public mutating func tryReceive() throws -> Coding.Message? {
    try ring.tryReceive { bytes, _ in try Coding.decode(bytes) }
  }

  /// Passes over the next message. False when there is none.
  @inlinable
  public mutating func skip() throws -> Bool { try ring.tryReceive { _, _ in true } ?? false }

  /// All that comes, as batches of up to `limit` messages, for `for try await`. One that cannot be decoded ends the sequence with the coding's error, after all
  /// those before it; it stays in the ring for the next consumer.
  ///
  /// - Parameter limit: messages, 1 or more.
  public consuming func batches(upTo limit: Int = 256) -> ChannelBatches<[Coding.Message]> {
    precondition(limit > 0, "MessageConsumer.batches: a batch has room for a message")
    return ChannelBatches(self, upTo: limit)
  }
}

extension MessageConsumer: BatchEnd {
  internal typealias Batch = [Coding.Message]

  internal mutating func takeCopies(upTo limit: Int) throws -> [Coding.Message] {
    var limit = limit
    while true {
      var batch: [Coding.Message] = []
      do {
        try ring.take(upTo: limit) { bytes, _ in batch.append(try Coding.decode(bytes)) }
        return batch
      } catch {
        // Those before it are taken again, without it: it is met once more.
        ring.rewind()
        guard !batch.isEmpty, batch.count < limit else { throw error }
        limit = batch.count
      }
    }
  }
  internal mutating func giveBack() { ring.giveBack() }
  internal mutating func rewind() { ring.rewind() }
  nonisolated(nonsending) internal mutating func waitForMessage(until deadline: Deadline) async throws {
    try await ring.waitForMessage(until: deadline)
  }
  internal mutating func error(_ code: SharedMemoryError.Code) -> SharedMemoryError { ring.error(code) }
}

extension RegionLayout.Part {
  /// A ring channel whose messages are of a type with a fixed layout. Whoever opens an end checks the layout.
  public static func ring<Message: FixedLayout>(
    _ name: String, of type: Message.Type, capacity: Int, producers: Int = 1
  ) -> RegionLayout.Part {
    ring(name, coding: FixedLayoutCoding<Message>.self, capacity: capacity, producers: producers)
  }

  /// A ring channel whose messages have a coding of the caller's. Whoever opens an end checks its layout hash.
  public static func ring<Coding: MessageCoding>(
    _ name: String, coding: Coding.Type, capacity: Int, producers: Int = 1
  ) -> RegionLayout.Part {
    var part = ring(name, capacity: capacity, producers: producers)
    part.layoutHash = Coding.layoutHash
    return part
  }
}

extension SharedRegion {
  /// The sending end of a ring of messages with a fixed layout.
  ///
  /// - Throws: ``SharedMemoryError``: as ``producer(of:)``; `layoutDiffers` when the ring was made for another type.
  public borrowing func producer<Message: FixedLayout>(
    of name: String, sending type: Message.Type
  ) throws(SharedMemoryError) -> MessageProducer<FixedLayoutCoding<Message>> {
    try producer(of: name, coding: FixedLayoutCoding<Message>.self)
  }

  /// The sending end of a ring of messages with a coding.
  public borrowing func producer<Coding: MessageCoding>(
    of name: String, coding: Coding.Type
  ) throws(SharedMemoryError) -> MessageProducer<Coding> {
    try storage.checkCoding(name, .ring, coding, "send to")
    return MessageProducer(try producer(of: name))
  }

  /// The receiving end of a ring of messages with a fixed layout.
  ///
  /// - Throws: ``SharedMemoryError``: as ``consumer(of:)``; `layoutDiffers` when the ring was made for another type.
  public borrowing func consumer<Message: FixedLayout>(
    of name: String, receiving type: Message.Type
  ) throws(SharedMemoryError) -> MessageConsumer<FixedLayoutCoding<Message>> {
    try consumer(of: name, coding: FixedLayoutCoding<Message>.self)
  }

  /// The receiving end of a ring of messages with a coding.
  public borrowing func consumer<Coding: MessageCoding>(
    of name: String, coding: Coding.Type
  ) throws(SharedMemoryError) -> MessageConsumer<Coding> {
    try storage.checkCoding(name, .ring, coding, "receive from")
    return MessageConsumer(try consumer(of: name))
  }
}

extension RegionStorage {
  internal func checkCoding<Coding: MessageCoding>(
    _ name: String, _ kind: RegionLayout.Kind, _ coding: Coding.Type, _ operation: String
  ) throws(SharedMemoryError) {
    let placed = try part(name, kind, operation)
    guard placed.part.layoutHash == Coding.layoutHash else {
      throw SharedMemoryError(
        .layoutDiffers, operation, region: self.name, part: name,
        note: "it was made for messages other than \(Coding.Message.self)")
    }
  }
}

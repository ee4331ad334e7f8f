// SPDX-License-Identifier: Apache-2.0

internal import Synchronization

/// All that comes through a channel, as batches: of a ring, a broadcast, or either with typed messages.
///
/// ```swift
/// for try await batch in try region.consumer(of: "orders").batches() {
///   for message in batch { handle(message.bytes) }
/// }
/// ```
///
/// A batch is everything that is there, up to a limit, so a busy channel pays for one suspension in many messages. Its room in the channel is given back when the next
/// one is asked for: if the process is killed while it handles a batch of a ring, the next consumer is given it again. The sequence does not end by itself: it
/// throws `CancellationError` when its task is cancelled, and ``SharedMemoryError`` when the channel is damaged or lost.
///
/// It has one iterator at a time: while one handles a batch or waits for one, a second one is told `taken`. The messages of an iterator that is given up in the
/// middle of a batch come again, those of a broadcast that may lose messages unless they are lost meanwhile.
public struct ChannelBatches<Batch>: AsyncSequence, Sendable {
  public typealias Element = Batch

  private let source: BatchSource<Batch>

  internal init<End: BatchEnd & ~Copyable>(_ end: consuming End, upTo limit: Int) where End.Batch == Batch {
    source = BatchSourceOf(end, upTo: limit)
  }

  public func makeAsyncIterator() -> AsyncIterator { AsyncIterator(source: source) }

  public struct AsyncIterator: AsyncIteratorProtocol {
    fileprivate let source: BatchSource<Batch>
    /// Whose batch it is: copies are one iterator.
    private let owner = BatchOwner()

    fileprivate init(source: BatchSource<Batch>) { self.source = source }

    public mutating func next() async throws -> Batch? { try await next(isolation: #isolation) }

    public mutating func next(isolation actor: isolated (any Actor)?) async throws -> Batch? {
      try await source.next(owner)
    }
  }
}

/// Messages that were received together, copied out of their channel.
public struct ChannelBatch<Header: Sendable>: Sendable, RandomAccessCollection {
  /// One message of a batch.
  public struct Message: Sendable {
    public let bytes: ArraySlice<UInt8>
    /// What the channel says of it.
    public let header: Header
  }

  private var bytes: [UInt8] = []
  private var ends: [(end: Int, header: Header)] = []

  internal init() {}

  internal mutating func append(_ span: RawSpan, _ header: Header) {
    unsafe span.withUnsafeBytes { unsafe bytes.append(contentsOf: $0) }
    ends.append((bytes.count, header))
  }

  public var startIndex: Int { 0 }
  public var endIndex: Int { ends.count }
  public subscript(index: Int) -> Message {
    let start = index == 0 ? 0 : ends[index - 1].end
    return Message(bytes: bytes[start..<ends[index].end], header: ends[index].header)
  }
}

extension ChannelBatch.Message: Equatable where Header: Equatable {}
extension ChannelBatch.Message: Hashable where Header: Hashable {}

/// The end of a channel that batches come from.
internal protocol BatchEnd: ~Copyable {
  associatedtype Batch: Collection
  /// Messages that are there now, copied and not given back.
  mutating func takeCopies(upTo limit: Int) throws -> Batch
  /// Gives all that was taken back.
  mutating func giveBack()
  /// Begins again at the first message that was not given back.
  mutating func rewind()
  nonisolated(nonsending) mutating func waitForMessage(until deadline: Deadline) async throws
  mutating func error(_ code: SharedMemoryError.Code) -> SharedMemoryError
}

/// Lives as long as an iterator.
private final class BatchOwner: Sendable {}

/// What a sequence and its iterators share.
private class BatchSource<Batch>: @unchecked Sendable {
  nonisolated(nonsending) func next(_ owner: BatchOwner) async throws -> Batch? { nil }
}

private final class BatchSourceOf<End: BatchEnd & ~Copyable>: BatchSource<End.Batch>, @unchecked Sendable {
  /// Touched by whoever has set `isBusy`.
  private var end: End
  private let isBusy = Atomic(false)
  /// Who was given the batch that is not given back yet; nil when that iterator is no more.
  private weak var owner: BatchOwner?
  private let taken: SharedMemoryError
  private let limit: Int

  init(_ end: consuming End, upTo limit: Int) {
    var end = end
    taken = end.error(.taken)
    self.end = end
    self.limit = limit
  }

  nonisolated(nonsending) override func next(_ owner: BatchOwner) async throws -> End.Batch? {
    guard isBusy.compareExchange(expected: false, desired: true, ordering: .acquiring).exchanged else { throw taken }
    defer { isBusy.store(false, ordering: .releasing) }
    let before = self.owner
    guard before == nil || before === owner else { throw taken }
    // The batch before was handled, or its iterator was given up.
    if before == nil { end.rewind() } else { end.giveBack() }
    self.owner = nil
    while true {
      try Task.checkCancellation()
      let batch = try end.takeCopies(upTo: limit)
      if !batch.isEmpty {
        self.owner = owner
        return batch
      }
      try await end.waitForMessage(until: .never)
    }
  }
}

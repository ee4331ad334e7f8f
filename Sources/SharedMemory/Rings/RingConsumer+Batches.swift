// SPDX-License-Identifier: Apache-2.0

/// Messages of a ring that were received together; the header of each is its type.
public typealias RingBatch = ChannelBatch<UInt16>

extension ChannelBatch.Message where Header == UInt16 {
  /// The sender's affair.
  public var type: UInt16 { header }
}

extension RingConsumer: BatchEnd {
  internal typealias Batch = RingBatch

  /// All that comes, as batches of up to `limit` messages, for `for try await`.
  ///
  /// - Parameter limit: messages, 1 or more.
  public consuming func batches(upTo limit: Int = 256) -> ChannelBatches<RingBatch> {
    precondition(limit > 0, "RingConsumer.batches: a batch has room for a message")
    return ChannelBatches(self, upTo: limit)
  }

  internal mutating func takeCopies(upTo limit: Int) throws -> RingBatch {
    var batch = RingBatch()
    try take(upTo: limit) { bytes, type in batch.append(bytes, type) }
    return batch
  }
}

// SPDX-License-Identifier: Apache-2.0

/// Messages of a broadcast that were received together; the header of each has its type and number, and how many were lost before it.
public typealias BroadcastBatch = ChannelBatch<BroadcastReader.Message>

extension BroadcastReader: BatchEnd {
  internal typealias Batch = BroadcastBatch

  /// All that comes, as batches of up to `limit` messages, for `for try await`. A follower gives the room of one back when the next is asked for.
  ///
  /// - Parameter limit: messages, 1 or more.
  public consuming func batches(upTo limit: Int = 256) -> ChannelBatches<BroadcastBatch> {
    precondition(limit > 0, "BroadcastReader.batches: a batch has room for a message")
    var reader = self
    // From here on it begins again with what comes next.
    reader.giveBack()
    return ChannelBatches(reader, upTo: limit)
  }

  internal mutating func takeCopies(upTo limit: Int) throws -> BroadcastBatch {
    var batch = BroadcastBatch()
    do {
      _ = try take(upTo: limit, until: .never) { bytes, message in batch.append(bytes, message) }
    } catch {
      // After others it is met again.
      if batch.isEmpty { throw error }
    }
    return batch
  }
}

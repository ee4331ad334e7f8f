// SPDX-License-Identifier: Apache-2.0

internal import CPlatform

/// Where the records of a stream end.
public enum RecordFraming: Sendable, Hashable {
  /// A line feed ends a record and belongs to it. The last record needs none.
  case lines
  /// A NUL ends a record and belongs to it. The last record needs none.
  case nullTerminated
  /// Each record has so many bytes.
  case fixed(Int)

  /// What ends a record; nil where it is counted.
  internal var terminator: UInt8? {
    switch self {
    case .lines: 0x0A
    case .nullTerminated: 0
    case .fixed: nil
    }
  }
}

/// What came of appending a stream of records.
public struct AppendedRecords: Sendable, Hashable {
  /// Whole records that were appended: committed, and seen by readers.
  public internal(set) var records = 0
  /// Their bytes.
  public internal(set) var bytes = 0
  /// Bytes at the end of the stream that were read and not appended, because they are no whole record: the rest of a stream of
  /// records of a fixed size, or what was read of a record when the stream failed or was cancelled.
  public internal(set) var leftOver = 0
  /// Flushes that were made on the way.
  public internal(set) var flushes = 0
  /// Why it ended before the stream did; nil when it did not. A full disk is `noSpace`; a stream that cannot be read has the
  /// operation `read` and no path; a rest that is no whole record of a fixed size is `invalidLayout`.
  public internal(set) var failure: MappingError?
  /// True when it was cancelled.
  public internal(set) var wasCancelled = false
}

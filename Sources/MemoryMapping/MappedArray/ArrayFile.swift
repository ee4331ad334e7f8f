// SPDX-License-Identifier: Apache-2.0

internal import CPlatform
internal import SystemPackage

/// The bytes of an array's file, without the type of its elements: header, rows, and room behind them.
///
/// ```text
/// 0        dataOffset        endOffset(rows)        dirtyEnd           fileCount
/// | header |  rows  ...       | room: anything       | room: zeros       |
/// ```
///
/// Nothing of it is inlinable: the optimizer (6.3) stops with an assertion at a setter that it may inline elsewhere and that destroys
/// a ``TransactionalFile``.
internal struct ArrayFile: ~Copyable, Sendable {
  // One of the two.
  internal var inPlace: MutableMappedFile?
  internal var atomic: TransactionalFile?
  /// Of the mode in place; a transactional file has its own.
  private let lock: WriterLock?
  /// As it lies in the file: what was committed.
  internal var committed: ArrayHeader
  /// Rows with those that are not committed.
  internal var rows: Int
  /// Elements of a row.
  internal let rowCount: Int
  /// Bytes of a row.
  internal let rowSize: Int
  internal let dataOffset: Int
  /// From here on the file holds zeros.
  internal var dirtyEnd: Int
  /// Up to here stores need no new space, as far as the file system allows that to be said.
  internal var reservedEnd: Int
  /// The end of the most rows that were ever committed: up to here readers may have it mapped.
  internal var peakEnd: Int
  /// The open transaction holds a header with another count.
  internal var isHeaderStored = false
  /// Why rows cannot be added or taken away.
  internal let fixedReason: String?
  internal let path: FilePath

  internal init(
    inPlace: consuming MutableMappedFile?, lock: consuming WriterLock?, atomic: consuming TransactionalFile?,
    header: ArrayHeader, fileCount: Int,
    fixedReason: String?, path: FilePath
  ) {
    let rowCount = Self.product(header.header.shape.dropFirst())
    isInPlace = inPlace != nil
    self.inPlace = inPlace
    self.atomic = atomic
    self.lock = lock
    committed = header
    rows = header.rows
    self.rowCount = rowCount
    rowSize = rowCount * header.header.elementType.itemSize
    dataOffset = header.header.dataOffset
    dirtyEnd = fileCount
    reservedEnd = header.header.endOffset
    peakEnd = header.header.endOffset
    self.fixedReason = fixedReason
    self.path = path
  }

  /// A header's shape: no overflow but beside a 0.
  private static func product(_ counts: some Collection<Int>) -> Int { counts.contains(0) ? 0 : counts.reduce(1, *) }

  internal let isInPlace: Bool

  internal var shape: [Int] {
    let shape = committed.header.shape
    return shape.isEmpty ? [] : [rows] + shape.dropFirst()
  }

  /// Bytes of the file or of the transaction's view of it.
  internal var fileCount: Int {
    switch inPlace {
    case .some(let map): return map.count
    case .none: break
    }
    switch atomic {
    case .some(let file): return file.count
    case .none: return 0
    }
  }

  // Borrowed by a pattern: the compiler (6.3) takes `inPlace!.flush()` for a consumption where `self` is mutable.

  /// Runs `body` over the shared mapping of the mode in place.
  internal borrowing func withMap<R, E: Error>(
    _ body: (borrowing MutableMappedFile) throws(E) -> R
  ) throws(E) -> R {
    switch inPlace {
    case .some(let map): return try body(map)
    case .none: preconditionFailure("ArrayFile: in place there is a mapping")
    }
  }

  internal var isInTransaction: Bool {
    switch atomic {
    case .some(let file): return file.isInTransaction
    case .none: return false
    }
  }

  /// Where `rows` rows end, in bytes from the start of the file.
  internal func endOffset(_ rows: Int) -> Int { dataOffset + rows * rowSize }

  /// The elements' bytes, checked.
  internal borrowing func byteRange(
    _ bounds: Range<Int>?, elementSize: Int, _ operation: MappingError.Operation
  ) throws(MappingError) -> Range<Int> {
    let count = rows * rowCount
    let lower = bounds?.lowerBound ?? 0
    let upper = bounds?.upperBound ?? count
    guard lower >= 0, upper <= count else { throw rangeError(lower, upper, operation) }
    return dataOffset + lower * elementSize..<dataOffset + upper * elementSize
  }

  internal borrowing func rangeError(
    _ lower: Int, _ upper: Int, _ operation: MappingError.Operation
  ) -> MappingError {
    MappingError(
      .invalidRange, operation: operation, path: path,
      detail: .note("elements \(lower)..<\(upper) of an array of \(rows * rowCount)"))
  }

  internal borrowing func place(of indices: [Int]) throws(MappingError) -> Int {
    guard let place = NumPyHeader.place(of: indices, in: shape) else {
      throw MappingError(
        .invalidRange, operation: .load, path: path,
        detail: .note("element \(indices) of an array of shape \(NumPyHeader.text(of: shape))"))
    }
    return place
  }

  /// A change of the atomic kind needs a transaction: it begins by itself.
  internal mutating func beginIfNeeded() throws(MappingError) {
    if !isInPlace, !isInTransaction { try atomic!.begin() }
  }

  /// Unmaps and closes; what was not committed is not in the array.
  internal consuming func close() throws(MappingError) {
    if isInPlace {
      trim()
      if let map = consume inPlace { try map.close() }
    } else if let file = consume atomic {
      try file.close()
    }
  }
}

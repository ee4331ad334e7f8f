// SPDX-License-Identifier: Apache-2.0

internal import CPlatform
internal import SystemPackage

extension ArrayFile {
  /// Adds whole rows behind the last one. Nothing has happened when it throws.
  internal mutating func append(_ bytes: RawSpan) throws(MappingError) {
    let size = bytes.byteCount
    try requireResizable(.append)
    guard size > 0 else { return }
    guard rowSize > 0, size % rowSize == 0 else {
      throw MappingError(
        .invalidLayout, operation: .append, path: path, length: Int64(size),
        detail: .note("a row of shape \(NumPyHeader.text(of: shape)) has \(rowSize) bytes"))
    }
    let start = endOffset(rows)
    try makeRoom(for: rows + size / rowSize, .append)
    // Whatever of it gets stored.
    dirtyEnd = max(dirtyEnd, start + size)
    if isInPlace { try inPlace!.copy(bytes, to: start) } else { try atomic!.copy(bytes, to: start) }
    rows += size / rowSize
  }

  /// Sets the number of rows; new ones are zeros.
  internal mutating func resize(to newRows: Int) throws(MappingError) {
    try requireResizable(.resize)
    guard newRows >= 0 else {
      throw MappingError(.invalidRange, operation: .resize, path: path, length: Int64(newRows))
    }
    if newRows > rows {
      let start = endOffset(rows)
      try makeRoom(for: newRows, .resize)
      let end = endOffset(newRows)
      try clear(start..<max(start, min(dirtyEnd, end)))
      dirtyEnd = max(dirtyEnd, end)
    } else {
      try beginIfNeeded()
    }
    rows = newRows
  }

  /// Zeros, by checked copies.
  private mutating func clear(_ range: Range<Int>) throws(MappingError) {
    guard !range.isEmpty else { return }
    let zeros = [UInt8](repeating: 0, count: min(range.count, 1 << 16))
    var at = range.lowerBound
    while at < range.upperBound {
      let step = min(zeros.count, range.upperBound - at)
      // Right because bytes of an array of UInt8 are all initialized.
      let part = unsafe zeros.span.bytes.extracting(0..<step)
      if isInPlace { try inPlace!.copy(part, to: at) } else { try atomic!.copy(part, to: at) }
      at += step
    }
  }

  internal borrowing func requireResizable(_ operation: MappingError.Operation) throws(MappingError) {
    guard let fixedReason else { return }
    throw MappingError(.notSupported, operation: operation, path: path, detail: .note(fixedReason))
  }

  /// Makes the file long enough for `newRows` rows, with blocks behind them; more at once than is needed, so that the cost of many
  /// appends is that of a few.
  internal mutating func makeRoom(
    for newRows: Int, _ operation: MappingError.Operation
  ) throws(MappingError) {
    let (bytes, overflow) = newRows.multipliedReportingOverflow(by: rowSize)
    let (needed, isOver) = bytes.addingReportingOverflow(dataOffset)
    guard !overflow, !isOver, newRows <= ArrayHeader.maximumRows else {
      throw MappingError(
        .limitExceeded, operation: operation, path: path, detail: .limit(Int64(ArrayHeader.maximumRows)))
    }
    // Rows without bytes: the shape has its own limit, which the commit must not be the first to find.
    if rowSize == 0 { _ = try committed.resized(to: newRows) }
    try beginIfNeeded()
    if !isInPlace {
      // Space is proved by the commit. Exactly as long as needed: a transaction cannot take back.
      if needed > fileCount { try atomic!.resize(to: needed) }
      return
    }
    try withMap { map throws(MappingError) in try map.requireWritable(operation) }
    guard needed > reservedEnd else { return }
    if needed > fileCount { try lengthen(to: needed, operation) }
    // What an earlier run has left as room, or what was just added.
    try reserve(upTo: fileCount, operation)
  }

  private static let leastRoom = 1 << 16
  private static let mostRoom = 1 << 24

  private mutating func lengthen(to needed: Int, _ operation: MappingError.Operation) throws(MappingError) {
    let old = fileCount
    let room = min(max(needed / 2, Self.leastRoom), Self.mostRoom)
    let (generous, isOver) = needed.addingReportingOverflow(room)
    for size in isOver ? [needed] : [PageMath().up(generous) ?? generous, needed] {
      do throws(MappingError) {
        try inPlace!.resize(to: size)
        try reserve(upTo: size, operation)
        return
      } catch {
        // Nobody was told of what was added.
        if fileCount > old { try? inPlace!.resize(to: old, evenIfShared: true) }
        let mayFitLess = error.code == .noSpace || error.code == .limitExceeded || error.code == .addressSpaceExhausted
        guard mayFitLess, size > needed else {
          var error = error
          error.operation = operation
          throw error
        }
      }
    }
  }

  /// Blocks for the room, so that a full disk is an error here. Where they cannot be had ahead, each store is checked anyway.
  private mutating func reserve(upTo end: Int, _ operation: MappingError.Operation) throws(MappingError) {
    guard end > reservedEnd else { return }
    do throws(MappingError) { try withMap { map throws(MappingError) in _ = try map.reserve(reservedEnd..<end) } } catch
    {
      guard error.code == .notSupported else { throw error }
    }
    reservedEnd = end
  }
}

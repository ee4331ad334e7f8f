// SPDX-License-Identifier: Apache-2.0

internal import CPlatform
internal import SystemPackage

extension GrowableMappedFile {
  /// Makes everything that was committed durable, as far as `level` says.
  ///
  /// - Parameter level: see ``FlushLevel``. After `.queued` nothing counts as durable.
  /// - Throws: ``MappingError``. A failed sync is final: every later call throws `syncFailed`; what was committed is still read, and
  ///   the next open finds at least what was durable before.
  public mutating func flush(_ level: FlushLevel = .data) throws(MappingError) {
    try requireSound(.flush)
    if level == .queued {
      let offset = Int64(durableCount)
      let length = Int64(count - durableCount)
      if length > 0, pgw_storage_writeback(range.descriptor, offset, length + Int64(GrowableFormat.headerSize)) != 0 {
        let error = MappingError.last(.flush, path: path)
        if error.code != .notSupported, error.errno != .illegalSeek {
          failure = error
          throw error
        }
      }
      return
    }
    if count > durableCount {
      let next = sequence + 1
      let slot = GrowableFormat.Slot(sequence: next, base: durableCount, length: count, checksum: checksum)
      try write(slot, at: GrowableFormat.durableSlots[durableSlot], .flush)
      sequence = next
    }
    let depth = level == .device ? PGW_SYNC_DEVICE : level == .barrier ? PGW_SYNC_BARRIER : PGW_SYNC_DATA
    guard pgw_storage_sync(range.descriptor, depth) == 0 else {
      let error = MappingError.last(.flush, path: path)
      failure = error
      throw error
    }
    try checkFault(.flush)
    guard count > durableCount else { return }
    // Few bytes a flush: smaller folios, so that the next one writes less beside them.
    if count - durableCount < chunk / 4 { chunk = max(min(options.chunk.lowerBound, chunk), chunk / 2) }
    preparedSinceFlush = false
    durableCount = count
    checksum = seed
    durableSlot = 1 - durableSlot
  }

  /// Runs `body` over committed bytes; throws afterwards if a page among them was lost.
  ///
  /// - Parameters:
  ///   - bounds: bytes of the data; nil for all of it.
  ///   - body: must not suspend. The span cannot leave it.
  /// - Throws: ``MappingError``: `invalidRange`, `truncated`, `inputOutput`; what `body` throws.
  public borrowing func withBytes<R>(_ bounds: Range<Int>? = nil, _ body: (RawSpan) throws -> R) throws -> R {
    let lower = bounds?.lowerBound ?? 0
    let upper = bounds?.upperBound ?? count
    guard lower >= 0, upper <= count else {
      throw MappingError(
        .invalidRange, operation: .read, path: path, offset: Int64(lower), detail: .note("\(count) bytes are committed")
      )
    }
    try checkFault(.read)
    let result = Result { try body(unsafe RawSpan(_unsafeStart: start + lower, byteCount: upper - lower)) }
    try checkFault(.read)
    return try result.get()
  }
}

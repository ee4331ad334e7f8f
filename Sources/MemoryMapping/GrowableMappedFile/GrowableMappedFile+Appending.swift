// SPDX-License-Identifier: Apache-2.0

internal import CPlatform
internal import SystemPackage

#if canImport(Glibc)
  internal import Glibc
#elseif canImport(Musl)
  internal import Musl
#elseif canImport(Darwin)
  internal import Darwin
#endif

extension GrowableMappedFile {
  /// Appends one record. Readers see all of it once this returns, or nothing.
  ///
  /// - Parameter bytes: of any length, or a multiple of the file's stride.
  /// - Returns: where it lies, in bytes from the start of the data.
  /// - Throws: ``MappingError``: `noSpace`, `limitExceeded`, `addressSpaceExhausted`, `invalidLayout` (not a multiple of the stride),
  ///   `syncFailed`. Nothing was appended then, and nothing else is lost: free space and append again.
  /// - Complexity: a copy and a checksum of the bytes; every so often one write of zeros ahead.
  @discardableResult
  public mutating func append(_ bytes: RawSpan) throws(MappingError) -> Int {
    let size = bytes.byteCount
    try prepare(size)
    guard size > 0 else { return count }
    let offset = count
    let missing = unsafe bytes.withUnsafeBytes { unsafe pgw_copy_checked(start + offset, $0.baseAddress!, size) }
    if missing != 0 { throw lost(offset + size - missing, missing) }
    let sum = unsafe bytes.withUnsafeBytes { unsafe pgw_crc32c(checksum, $0.baseAddress, size) }
    try commit(offset + size, sum)
    return offset
  }

  /// Appends one value.
  ///
  /// - Parameter value: stored in this machine's byte order.
  /// - Returns: where it lies, in bytes from the start of the data.
  /// - Throws: ``MappingError`` as ``append(_:)-(RawSpan)``.
  @discardableResult @inlinable
  public mutating func append<T: FixedLayout>(_ value: T) throws(MappingError) -> Int {
    if !T._isPrimitiveLayout { VerifiedLayouts.require(T.self) }
    var value = value
    return try unsafe withUnsafeBytes(of: &value) { bytes throws(MappingError) in
      try unsafe append(RawSpan(_unsafeBytes: bytes))
    }
  }

  /// Appends what `body` writes, in place: no copy is made.
  ///
  /// - Parameters:
  ///   - byteCount: how much room to give; a multiple of the file's stride.
  ///   - body: fills the bytes, which may hold anything before, and returns how many of them count, a multiple of the stride.
  ///     Nothing is appended when it throws.
  /// - Returns: where they lie, in bytes from the start of the data.
  /// - Throws: ``MappingError`` as ``append(_:)-(RawSpan)``; what `body` throws.
  @discardableResult
  public mutating func append(
    byteCount: Int, initializing body: (inout MutableRawSpan) throws -> Int
  ) throws -> Int {
    guard byteCount >= 0 else {
      throw MappingError(.invalidRange, operation: .append, path: path, length: Int64(byteCount))
    }
    try prepare(byteCount)
    let offset = count
    var span = unsafe MutableRawSpan(_unsafeStart: start + offset, byteCount: byteCount)
    let used = Result { try body(&span) }
    try checkFault(.append)
    let size = try used.get()
    guard size >= 0, size <= byteCount, stride == 0 || size % stride == 0 else {
      throw MappingError(
        .invalidRange, operation: .append, path: path, length: Int64(size), detail: .note("room was for \(byteCount)"))
    }
    guard size > 0 else { return offset }
    let sum = unsafe pgw_crc32c(checksum, start + offset, size)
    try checkFault(.append)
    try commit(offset + size, sum)
    return offset
  }

  /// Makes room for `size` more bytes now, so that appends up to there neither wait for the file system nor fail for want of space
  /// (on file systems that overwrite in place).
  ///
  /// - Parameter size: bytes beyond ``count``.
  /// - Throws: ``MappingError`` as ``append(_:)-(RawSpan)``.
  public mutating func reserve(_ size: Int) throws(MappingError) {
    guard size >= 0 else {
      throw MappingError(.invalidRange, operation: .reserveSpace, path: path, length: Int64(size))
    }
    try requireSound(.reserveSpace)
    if size > prepared - count { try extend(by: size) }
  }

  // ------------------------------------------------------------------------------------------------ the parts

  private mutating func prepare(_ size: Int) throws(MappingError) {
    // Not `!= nil`, which copies the error to compare it.
    if case .some = failure { try requireSound(.append) }
    if range.flag.isRaised { try requireSound(.append) }
    if stride > 1, size % stride != 0 {
      throw MappingError(
        .invalidLayout, operation: .append, path: path, length: Int64(size),
        detail: .note("records of this file have \(stride) bytes"))
    }
    if size > prepared - count { try extend(by: size) }
  }

  internal borrowing func requireSound(_ operation: MappingError.Operation) throws(MappingError) {
    if let failure { throw MappingError(.syncFailed, operation: operation, errno: failure.errno, path: path) }
    try checkFault(operation)
  }

  /// The commit: a slot with the new length and its checksum, then the word that readers look at.
  internal mutating func commit(_ length: Int, _ sum: UInt32) throws(MappingError) {
    let next = sequence + 1
    let slot = GrowableFormat.Slot(sequence: next, base: durableCount, length: length, checksum: sum)
    let offset = GrowableFormat.commitSlots[Int(next & 1)]
    // Not `write`: the compiler (6.3.1) copies all of self, some hundred bytes, to lend it from a mutating function.
    let words = slot.encoded(seed: seed)
    let missing = unsafe withUnsafeBytes(of: words) {
      unsafe pgw_copy_checked(range.base + offset, $0.baseAddress!, GrowableFormat.Slot.byteCount)
    }
    if missing != 0 { throw lost(offset - GrowableFormat.headerSize, missing) }
    // Pairs with the acquiring load of readers: who sees the length sees the bytes.
    unsafe pgw_store_word(range.base + GrowableFormat.committedOffset, UInt64(length).littleEndian)
    if range.flag.isRaised { try checkFault(.append) }
    sequence = next
    checksum = sum
    count = length
  }

  internal borrowing func write(
    _ slot: GrowableFormat.Slot, at offset: Int, _ operation: MappingError.Operation
  ) throws(MappingError) {
    let words = slot.encoded(seed: seed)
    let missing = unsafe withUnsafeBytes(of: words) {
      unsafe pgw_copy_checked(range.base + offset, $0.baseAddress!, GrowableFormat.Slot.byteCount)
    }
    // The header's page needs a new place on a file system that copies on write, and there was none.
    if missing != 0 { throw lost(offset - GrowableFormat.headerSize, missing) }
  }

  /// Why bytes of the data could not be stored.
  @inline(never)
  internal borrowing func lost(_ offset: Int, _ missing: Int) -> MappingError {
    let place = Int64(GrowableFormat.headerSize + offset)
    return range.faultOrigin.storeFailure(
      MappingError(.faulted, operation: .append, path: path, offset: place, length: Int64(missing)), at: place)
  }

  /// Makes the file longer by writing zeros: blocks are reserved, and the page cache gets large folios.
  @inline(never)
  private mutating func extend(by size: Int) throws(MappingError) {
    let (needed, overflow) = count.addingReportingOverflow(size)
    guard !overflow, needed <= maximumCount else {
      throw MappingError(
        .addressSpaceExhausted, operation: .append, path: path, offset: Int64(count), length: Int64(size),
        detail: .limit(Int64(maximumCount)))
    }
    if preparedSinceFlush { chunk = min(chunk * 2, options.chunk.upperBound, 1 << 40) }
    var wanted = min(max(needed, prepared + chunk), maximumCount)
    // Up to the end of a page, so that the next one begins with whole folios.
    wanted = min(PageMath().up(wanted) ?? wanted, maximumCount)
    var reached = prepared
    while reached < needed {
      do throws(MappingError) {
        reached = try writeZeros(from: reached, to: wanted)
      } catch {
        // Less may fit.
        guard error.code == .noSpace || error.code == .limitExceeded, wanted > needed else {
          _ = pgw_storage_truncate(range.descriptor, Int64(GrowableFormat.headerSize + prepared))
          throw error
        }
        wanted = max(needed, reached + (wanted - reached) / 2)
      }
    }
    preparedSinceFlush = true
    if options.prefaults {
      let first = PageMath().down(GrowableFormat.headerSize + prepared)
      let length = (PageMath().up(GrowableFormat.headerSize + reached) ?? 0) - first
      // An old kernel has no such call; the faults come later then.
      _ = unsafe pgw_storage_populate(range.base + first, length)
    }
    prepared = reached
    if let slot = unsafe range.slot { unsafe pgw_guard_set_length(slot, GrowableFormat.headerSize + prepared) }
  }

  /// Returns how far it came.
  private borrowing func writeZeros(from lower: Int, to upper: Int) throws(MappingError) -> Int {
    var at = lower
    while at < upper {
      // Ends where a MiB of the file ends: what is written at once can be one folio.
      let offset = GrowableFormat.headerSize + at
      let step = min(Zeros.count - offset % Zeros.count, upper - at)
      guard let zeros = unsafe Zeros.bytes else { throw MappingError(.memoryExhausted, operation: .append, path: path) }
      guard unsafe pgw_storage_write(range.descriptor, zeros, step, Int64(offset)) == 0 else {
        throw .last(.append, path: path, offset: Int64(offset), length: Int64(step))
      }
      at += step
    }
    return at
  }
}

/// Zeros to write, one for all: pages that were never stored to are one page of memory.
private enum Zeros {
  static let count = 1 << 20
  // Right because nobody stores to them.
  private static nonisolated(unsafe) let mapped = unsafe pgw_map(
    nil, count, 1, CInt(PGW_MAP_PRIVATE | PGW_MAP_ANONYMOUS), -1, 0)
  private static nonisolated(unsafe) let allocated = unsafe calloc(1, count)

  static var bytes: UnsafeRawPointer? { unsafe UnsafeRawPointer(mapped ?? allocated) }
}

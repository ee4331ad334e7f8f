// SPDX-License-Identifier: Apache-2.0

public import CPlatform
internal import SystemPackage

extension TransactionalFile {
  /// Begins a transaction: bytes can be changed until ``commit(_:)`` or ``rollback()``.
  ///
  /// - Throws: ``MappingError``: `wrongState` while one is open; `syncFailed`; `noSpace` while an earlier commit cannot be brought
  ///   into the file.
  public mutating func begin() throws(MappingError) {
    try require(inTransaction: false, .begin)
    // While nothing is open the view can take over what the file has grown by.
    if options.application == .atCommit { try applyPending() }
    isInTransaction = true
  }

  /// Forgets every change since ``begin()``, and what the file was grown by. After a lost page this maps the file again: the way back
  /// to work, once the reason is gone.
  ///
  /// - Throws: ``MappingError``: `wrongState` without a transaction; `truncated` when the file is shorter than it was committed. Commits that are not in the file yet are made durable and
  ///   brought there first, so errors of those are possible; the transaction is still open then.
  public mutating func rollback() throws(MappingError) {
    guard isInTransaction else {
      // Without a transaction a loss can be recovered from all the same.
      if view.isFaulted || applied.faultFlag.isRaised { return try recoverPages() }
      return try require(inTransaction: true, .rollback)
    }
    try recoverPages()
    if failure == nil, !pending.isEmpty {
      if durableGeneration < generation { try sync() }
      try applyPending()
    }
    view.discardChanges(keeping: committedCount)
    count = committedCount
    isInTransaction = false
    if failure == nil { try view.attach(size: applied.count, path: path) }
  }

  /// Maps anew what has lost pages.
  private mutating func recoverPages() throws(MappingError) {
    guard view.isFaulted || applied.faultFlag.isRaised else { return }
    var now = pgw_stat()
    guard unsafe pgw_fstat(descriptor.number, &now) == 0 else { throw .last(.rollback, path: path) }
    guard now.size >= Int64(applied.count) else {
      throw MappingError(
        .truncated, operation: .rollback, path: path, offset: now.size, length: Int64(applied.count) - now.size,
        detail: .fileSize(now.size))
    }
    // What was committed and is not in the file yet is in the pages that go.
    if failure == nil, !pending.isEmpty {
      if durableGeneration < generation { try makeDurable() }
      try applyPending()
    }
    try view.remap(path: path)
    if applied.faultFlag.isRaised { applied = try Self.mapApplied(descriptor.number, size: applied.count, path: path) }
  }

  /// Changes bytes and commits them when `body` returns; rolls back when it throws.
  ///
  /// - Parameters:
  ///   - newCount: grow the file to this many bytes first; nil leaves its size.
  ///   - durability: of the commit.
  ///   - body: must not suspend. The span cannot leave it.
  /// - Returns: what `body` returned.
  /// - Throws: ``MappingError``, after which the transaction has been rolled back unless a sync failed; or what `body` throws.
  public mutating func withTransaction<R>(
    growingTo newCount: Int? = nil, _ durability: CommitDurability = .durable,
    _ body: (inout MutableRawSpan) throws -> R
  ) throws -> R {
    try begin()
    do {
      if let newCount { try resize(to: newCount) }
      let result = try withMutableBytes(nil, body)
      try commit(durability)
      return result
    } catch {
      if isInTransaction, failure == nil { try rollback() }
      throw error
    }
  }

  /// Makes the file longer, as part of the transaction. New bytes are zeros.
  ///
  /// - Parameter newCount: bytes afterwards; not below ``count``.
  /// - Throws: ``MappingError``: `wrongState` without a transaction; `notSupported` for shrinking, which would take pages from
  ///   readers; `addressSpaceExhausted` beyond ``Options/maximumSize``.
  public mutating func resize(to newCount: Int) throws(MappingError) {
    try require(inTransaction: true, .resize)
    guard newCount >= count else {
      throw MappingError(
        .notSupported, operation: .resize, path: path, length: Int64(newCount),
        detail: .note("a transaction only grows the file; replace the file for a shorter one"))
    }
    // The rest of the last page may hold what somebody stored behind the end.
    let old = count
    try view.grow(to: newCount, path: path)
    let pageEnd = min(PageMath().up(old) ?? old, newCount)
    if pageEnd > old {
      unsafe view.base.advanced(by: old).initializeMemory(as: UInt8.self, repeating: 0, count: pageEnd - old)
    }
    count = newCount
  }

  /// Runs `body` over the bytes, for writing. The changes are this process's alone until they are committed.
  ///
  /// - Parameters:
  ///   - bounds: a part of the view; nil for all of it.
  ///   - body: must not suspend. The span cannot leave it.
  /// - Throws: ``MappingError``: `wrongState` without a transaction, `invalidRange`, `truncated` when the file was cut under us,
  ///   which a commit then refuses too; or what `body` throws.
  @inlinable
  public mutating func withMutableBytes<R>(
    _ bounds: Range<Int>? = nil, _ body: (inout MutableRawSpan) throws -> R
  ) throws -> R {
    let (lower, upper) = try enter(bounds, .write, isWriting: true)
    var span = unsafe MutableRawSpan(_unsafeStart: start + lower, byteCount: upper &- lower)
    let result: Result<R, any Error>
    do { result = .success(try body(&span)) } catch { result = .failure(error) }
    try leave(.write)
    return try result.get()
  }

  /// Runs `body` over the bytes as this writer sees them: with the changes of the open transaction.
  ///
  /// - Parameters:
  ///   - bounds: a part of the view; nil for all of it.
  ///   - body: must not suspend. The span cannot leave it.
  /// - Throws: ``MappingError``: `invalidRange`, `truncated`, `inputOutput`; or what `body` throws.
  @inlinable
  public borrowing func withBytes<R>(
    _ bounds: Range<Int>? = nil, _ body: (RawSpan) throws -> R
  ) throws -> R {
    let (lower, upper) = try enter(bounds, .read, isWriting: false)
    let result: Result<R, any Error>
    do {
      result = .success(unsafe try body(RawSpan(_unsafeStart: start + lower, byteCount: upper &- lower)))
    } catch { result = .failure(error) }
    try leave(.read)
    return try result.get()
  }

  /// Stores one value in the open transaction.
  ///
  /// - Parameters:
  ///   - value: stored in this machine's byte order.
  ///   - offset: in bytes; need not be aligned; any value is allowed.
  /// - Throws: ``MappingError``: `wrongState`, `invalidRange`, `truncated`, `inputOutput`.
  @inlinable
  public mutating func store<T: FixedLayout>(_ value: T, at offset: Int) throws(MappingError) {
    if !T._isPrimitiveLayout { VerifiedLayouts.require(T.self) }
    let size = MemoryLayout<T>.size
    let (overflowing, isOver) = offset.addingReportingOverflow(size)
    _ = try enter(isOver || offset < 0 ? Int.max - 1..<Int.max : offset..<overflowing, .write, isWriting: true)
    let missing = unsafe withUnsafeBytes(of: value) { bytes in
      guard let source = bytes.baseAddress else { return 0 }
      return unsafe pgw_copy_checked(start + offset, source, size)
    }
    if missing != 0 || flag.isRaised { throw lost(.write, at: offset) }
  }

  /// Copies bytes into the open transaction: never killed.
  ///
  /// - Parameters:
  ///   - bytes: what to store.
  ///   - offset: in bytes; any value is allowed.
  /// - Throws: ``MappingError``: `wrongState`, `invalidRange`, `truncated`, `inputOutput`. Bytes before the lost one are stored then.
  /// - Complexity: O(n).
  public mutating func copy(_ bytes: RawSpan, to offset: Int) throws(MappingError) {
    let size = bytes.byteCount
    let (end, isOver) = offset.addingReportingOverflow(size)
    _ = try enter(isOver || offset < 0 ? Int.max - 1..<Int.max : offset..<end, .write, isWriting: true)
    guard size > 0 else { return }
    let missing = unsafe bytes.withUnsafeBytes { unsafe pgw_copy_checked(start + offset, $0.baseAddress!, size) }
    if missing != 0 || flag.isRaised { throw lost(.write, at: offset + size - missing) }
  }

  /// Reads one value, with the changes of the open transaction: never killed, never an invented byte.
  ///
  /// - Parameters:
  ///   - offset: in bytes; need not be aligned; any value is allowed.
  ///   - type: read in this machine's byte order.
  /// - Throws: ``MappingError``: `invalidRange`, `truncated`, `inputOutput`.
  @inlinable
  public borrowing func load<T: FixedLayout>(at offset: Int, as type: T.Type = T.self) throws(MappingError) -> T {
    if !T._isPrimitiveLayout { VerifiedLayouts.require(type) }
    let size = MemoryLayout<T>.size
    let (overflowing, isOver) = offset.addingReportingOverflow(size)
    _ = try enter(isOver || offset < 0 ? Int.max - 1..<Int.max : offset..<overflowing, .load, isWriting: false)
    var missing = 0
    let value: T = unsafe withUnsafeTemporaryAllocation(
      byteCount: size, alignment: MemoryLayout<T>.alignment
    ) { buffer in
      let target = unsafe buffer.baseAddress.unsafelyUnwrapped
      missing = unsafe pgw_copy_checked(target, start + offset, size)
      if missing != 0 { unsafe target.initializeMemory(as: UInt8.self, repeating: 0, count: size) }
      // Right because the copy, or the zeros, filled all of it, and any bytes are a value of a fixed layout.
      return unsafe target.load(as: T.self)
    }
    if missing != 0 || flag.isRaised { throw lost(.load, at: offset) }
    return value
  }

  /// The view's first byte.
  @usableFromInline internal var start: UnsafeMutableRawPointer { unsafe view.base }
  @usableFromInline internal var flag: FaultFlag { view.flag }

  @usableFromInline
  internal borrowing func enter(
    _ bounds: Range<Int>?, _ operation: MappingError.Operation, isWriting: Bool
  ) throws(MappingError) -> (Int, Int) {
    if isWriting { try require(inTransaction: true, operation) } else { try requireSound(operation) }
    let lower = bounds?.lowerBound ?? 0
    let upper = bounds?.upperBound ?? count
    guard lower >= 0, upper <= count else {
      throw MappingError(
        .invalidRange, operation: operation, path: path, offset: Int64(lower),
        length: Int64(upper.subtractingReportingOverflow(lower).partialValue),
        detail: .note("the view has \(count) bytes"))
    }
    return (lower, upper)
  }

  @usableFromInline
  internal borrowing func leave(_ operation: MappingError.Operation) throws(MappingError) {
    if view.isFaulted { throw faultError(operation) }
  }

  @inline(never) @usableFromInline
  internal borrowing func lost(_ operation: MappingError.Operation, at offset: Int) -> MappingError {
    if view.isFaulted { return faultError(operation) }
    var error = MappingError(.faulted, operation: operation, path: path, offset: Int64(offset))
    var now = pgw_stat()
    if unsafe pgw_fstat(descriptor.number, &now) == 0, now.size <= Int64(offset) {
      error.code = .truncated
      error.detail = .fileSize(now.size)
    }
    return error
  }
}

extension PrivateView {
  internal borrowing func fault(count: Int) -> MappingFault? {
    faultOrigin.fault(slack: 0, count: count)
  }
}

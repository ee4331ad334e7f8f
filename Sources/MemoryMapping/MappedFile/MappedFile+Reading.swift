// SPDX-License-Identifier: Apache-2.0

internal import CPlatform
internal import SystemPackage

extension MappedFile {
  /// Runs `body` over the mapped bytes; throws afterwards if any of them may have been made up.
  ///
  /// A guarded scope: when a page is lost meanwhile (the file was cut, the device failed), the process goes on with the fill
  /// byte in its place, and the call throws at the end instead of returning the result. So do nothing inside that cannot be
  /// thrown away, and make loops progress whatever the bytes say. The mapping stays faulted until ``recover()``.
  ///
  /// - Parameters:
  ///   - bounds: a part of the view; nil for all of it.
  ///   - check: what is proved at the end.
  ///   - body: must not suspend. The span cannot leave it.
  /// - Throws: ``MappingError`` with the file offset of the first lost page: `truncated`, `noSpace`, `inputOutput`,
  ///   `memoryFailure` or `faulted`; `changed` with `.stamp`; `invalidRange` for bounds outside the view.
  /// - Complexity: O(1) beside the body; a few nanoseconds with `.pages`.
  @inlinable
  public borrowing func withBytes<R>(
    _ bounds: Range<Int>? = nil, check: FaultCheck = .pages, _ body: (RawSpan) -> R
  ) throws(MappingError) -> R {
    let (lower, upper) = try enter(bounds)
    if check == .pages {
      let result = unsafe body(RawSpan(_unsafeStart: viewStart + lower, byteCount: upper &- lower))
      if range.flag.isRaised { throw faultError(.read) }
      return result
    }
    let before = try stampBefore(check)
    let result = unsafe body(RawSpan(_unsafeStart: viewStart + lower, byteCount: upper &- lower))
    try prove(check, since: before, upTo: upper, .read)
    return result
  }

  /// The same for a body that throws. A lost page wins over the body's own error, which may come from made-up bytes.
  @inlinable
  public borrowing func withBytes<R>(
    _ bounds: Range<Int>? = nil, check: FaultCheck = .pages, _ body: (RawSpan) throws -> R
  ) throws -> R {
    let (lower, upper) = try enter(bounds)
    let before = try stampBefore(check)
    let result: Result<R, any Error>
    do {
      result = .success(unsafe try body(RawSpan(_unsafeStart: viewStart + lower, byteCount: upper &- lower)))
    } catch {
      result = .failure(error)
    }
    try prove(check, since: before, upTo: upper, .read)
    return try result.get()
  }

  /// The bare bytes, without any promise.
  ///
  /// The process survives a lost page (it reads as the fill byte), but nothing tells the reader: ask ``checkFault()``
  /// afterwards. And the compiler takes the bytes of a span for constant, which a file that others write is not. For sealed
  /// memory files, leases, snapshots, and files that only this program changes.
  @unsafe @inlinable
  public var bytes: RawSpan {
    @_lifetime(borrow self)
    get {
      let span = unsafe RawSpan(_unsafeStart: viewStart, byteCount: count)
      return unsafe _overrideLifetime(span, borrowing: self)
    }
  }

  /// Throws if a page of the mapping was lost before now.
  ///
  /// What a cursor calls after each step. About a nanosecond.
  @inlinable
  public borrowing func checkFault() throws(MappingError) {
    if range.flag.isRaised { throw faultError(.read) }
  }

  /// The address of the view's first byte.
  @inlinable internal var viewStart: UnsafeMutableRawPointer { unsafe range.base + slack }

  /// Checks bounds and that the mapping is healthy.
  @inlinable @inline(__always)
  internal borrowing func enter(_ bounds: Range<Int>?) throws(MappingError) -> (Int, Int) {
    let lower = bounds?.lowerBound ?? 0
    let upper = bounds?.upperBound ?? count
    guard lower >= 0, upper <= count else { throw rangeError(lower, upper, .read) }
    if range.flag.isRaised { throw faultError(.read) }
    return (lower, upper)
  }

  @inline(never) @usableFromInline
  internal borrowing func rangeError(
    _ lower: Int, _ upper: Int, _ operation: MappingError.Operation
  ) -> MappingError {
    MappingError(
      .invalidRange, operation: operation, path: path,
      offset: fileOffset.addingReportingOverflow(Int64(lower)).partialValue,
      length: Int64(upper.subtractingReportingOverflow(lower).partialValue),
      detail: .note("the view has \(count) bytes"))
  }

  /// The error that tells of the mapping's fault.
  @inline(never) @usableFromInline
  internal borrowing func faultError(_ operation: MappingError.Operation) -> MappingError {
    FaultChecked(self).error(operation)
  }

  @inline(never) @usableFromInline
  internal borrowing func stampBefore(_ check: FaultCheck) throws(MappingError) -> FileIdentity? {
    guard check == .stamp else { return nil }
    var now = pgw_stat()
    try ask(&now)
    return FileIdentity(now)
  }

  /// The end of a scope: throws unless everything that `check` asks for holds.
  @inline(never) @usableFromInline
  internal borrowing func prove(
    _ check: FaultCheck, since before: FileIdentity?, upTo upper: Int, _ operation: MappingError.Operation
  ) throws(MappingError) {
    if range.flag.isRaised { throw faultError(operation) }
    try compareWithFile(check, since: before, upTo: upper, operation)
  }

  /// What fstat can prove, whatever the mapping has met: the file reaches to `upper`, and its stamp did not move.
  @usableFromInline
  internal borrowing func compareWithFile(
    _ check: FaultCheck, since before: FileIdentity?, upTo upper: Int, _ operation: MappingError.Operation
  ) throws(MappingError) {
    // A snapshot and an empty view have no other end that could change.
    guard check != .pages, count > 0, options.stability != .snapshot else { return }
    // The kernel itself vouches for the size.
    if check == .size, options.stability == .sealed { return }
    if range.descriptor >= 0 { OpenedFile.awaitCut(of: range.descriptor) }
    var now = pgw_stat()
    try ask(&now)
    if OpenedFile.kind(of: now.mode) == .regular, now.size < fileOffset + Int64(upper) {
      throw MappingError(
        .truncated, operation: operation, path: path, offset: now.size,
        length: fileOffset + Int64(upper) - now.size, detail: .fileSize(now.size))
    }
    if let before, FileIdentity(now) != before {
      throw MappingError(.changed, operation: operation, path: path, detail: .fileSize(now.size))
    }
  }

  private borrowing func ask(_ stat: inout pgw_stat) throws(MappingError) {
    guard range.descriptor >= 0 else {
      guard count > 0 else { return }
      throw MappingError(
        .notSupported, operation: .stat, path: path, detail: .note("the mapping keeps no descriptor to ask"))
    }
    guard unsafe pgw_fstat(range.descriptor, &stat) == 0 else { throw .last(.stat, path: path) }
  }
}

// SPDX-License-Identifier: Apache-2.0

public import CPlatform
internal import SystemPackage

extension MutableMappedFile {
  /// Runs `body` over the bytes, for writing; throws afterwards if any page was lost, and with it what was stored there.
  ///
  /// Meanwhile the process goes on: a page that cannot be had (full disk, failed device, cut file) is replaced by private
  /// memory. After a throw ``lostRanges()`` names the parts whose stores did not reach the file; everything else did. The mapping
  /// refuses to write until ``recover()``.
  ///
  /// - Parameters:
  ///   - bounds: a part of the view; nil for all of it.
  ///   - check: `.size` also finds that the file was cut inside the last page, which swallows stores without a sign.
  ///     `.stamp` is not supported: our own stores move it.
  ///   - body: must not suspend. The span cannot leave it.
  /// - Throws: ``MappingError``: `noSpace`, `truncated`, `inputOutput`, `invalidRange`.
  @inlinable
  public mutating func withMutableBytes<R>(
    _ bounds: Range<Int>? = nil, check: FaultCheck = .pages, _ body: (inout MutableRawSpan) -> R
  ) throws(MappingError) -> R {
    let (lower, upper) = try enter(bounds, check)
    var span = unsafe MutableRawSpan(_unsafeStart: map.viewStart + lower, byteCount: upper &- lower)
    let result = body(&span)
    try leave(check, upper)
    return result
  }

  /// The same for a body that throws. A lost page wins over the body's own error.
  ///
  /// - Parameters:
  ///   - bounds: a part of the view; nil for all of it.
  ///   - check: `.pages` or `.size`.
  ///   - body: must not suspend. The span cannot leave it.
  /// - Throws: ``MappingError``, or what `body` throws. What `body` stored before it threw stays stored.
  @inlinable
  public mutating func withMutableBytes<R>(
    _ bounds: Range<Int>? = nil, check: FaultCheck = .pages, _ body: (inout MutableRawSpan) throws -> R
  ) throws -> R {
    let (lower, upper) = try enter(bounds, check)
    var span = unsafe MutableRawSpan(_unsafeStart: map.viewStart + lower, byteCount: upper &- lower)
    let result: Result<R, any Error>
    do { result = .success(try body(&span)) } catch { result = .failure(error) }
    try leave(check, upper)
    return try result.get()
  }

  /// The bare bytes for writing, without any promise: the process survives a lost page, but nothing tells the writer. Ask
  /// ``checkFault()`` afterwards.
  @unsafe @inlinable
  public var mutableBytes: MutableRawSpan {
    @_lifetime(&self)
    mutating get {
      let span = unsafe MutableRawSpan(_unsafeStart: map.viewStart, byteCount: count)
      return unsafe _overrideLifetime(span, mutating: &self)
    }
  }

  /// Stores one value: never killed; throws if the page cannot be had, and the mapping stays healthy.
  ///
  /// - Parameters:
  ///   - value: stored in this machine's byte order.
  ///   - offset: in bytes from the start of the view; need not be aligned; any value is allowed.
  /// - Throws: ``MappingError``: `noSpace`, `truncated`, `inputOutput`, `invalidRange`.
  /// - Complexity: O(1); some nanoseconds, once the page is mapped.
  @inlinable
  public mutating func store<T: FixedLayout>(_ value: T, at offset: Int) throws(MappingError) {
    if !T._isPrimitiveLayout { VerifiedLayouts.require(T.self) }
    let size = MemoryLayout<T>.size
    guard offset >= 0, offset <= count &- size else { throw storeRangeError(offset, size) }
    let missing = unsafe withUnsafeBytes(of: value) { bytes in
      guard let source = bytes.baseAddress else { return 0 }
      let missing = unsafe pgw_copy_checked(map.viewStart + offset, source, size)
      return unsafe missing == 0 ? 0 : storeUpToPageEnd(source, size, missing, at: offset)
    }
    if missing != 0 || map.range.flag.isRaised { throw storeError(offset, size, missing) }
  }

  /// Copies bytes into the mapping: never killed; throws if a page cannot be had, and the mapping stays healthy.
  ///
  /// - Parameters:
  ///   - bytes: what to store.
  ///   - offset: in bytes from the start of the view; any value is allowed.
  /// - Throws: ``MappingError``: `noSpace`, `truncated`, `inputOutput`, `invalidRange`. Its offset is that of the first byte
  ///   that was not stored; those before it were.
  /// - Complexity: O(n); a few nanoseconds above `memcpy`.
  @inlinable
  public mutating func copy(_ bytes: RawSpan, to offset: Int) throws(MappingError) {
    let size = bytes.byteCount
    guard offset >= 0, offset <= count, size <= count &- offset else { throw storeRangeError(offset, size) }
    guard size > 0 else { return }
    let missing = unsafe bytes.withUnsafeBytes {
      let source = unsafe $0.baseAddress.unsafelyUnwrapped
      let missing = unsafe pgw_copy_checked(map.viewStart + offset, source, size)
      return unsafe missing == 0 ? 0 : storeUpToPageEnd(source, size, missing, at: offset)
    }
    if missing != 0 || map.range.flag.isRaised { throw storeError(offset, size, missing) }
  }

  /// Makes every page of `bounds` writable now, so that storing does not fault.
  ///
  /// Without blocks behind them this can fail half-way on a full disk; ``reserve(_:)`` does both.
  ///
  /// - Parameter bounds: a part of the view; nil for all of it.
  /// - Throws: `noSpace`, `truncated`, `inputOutput`, with the offset of the first page that cannot be had; `notSupported` before
  ///   Linux 5.14 and on Darwin.
  /// - Complexity: one system call; about a microsecond a page. C: `madvise(MADV_POPULATE_WRITE)`.
  public borrowing func prefault(_ bounds: Range<Int>? = nil) throws(MappingError) {
    let pages = try map.pages(of: bounds, .prefault)
    guard pages.length > 0 else { return }
    if map.range.flag.isRaised { throw map.faultError(.prefault) }
    guard unsafe pgw_storage_populate(map.range.base + pages.start, pages.length) != 0 else { return }
    let asked = fileOffset + Int64(bounds?.lowerBound ?? 0)
    var error = MappingError.last(.prefault, path: path, offset: asked, length: Int64(pages.length))
    guard error.code == .faulted else { throw error }
    let lost = map.fileOffset - Int64(map.slack) + Int64(firstUnwritablePage(pages.start, pages.length))
    error.offset = max(asked, lost)
    throw map.range.faultOrigin.storeFailure(error, at: lost)
  }

  /// Where the first page begins that cannot be made writable, among pages that cannot all: by halves.
  private borrowing func firstUnwritablePage(_ start: Int, _ length: Int) -> Int {
    var (start, count) = (start, length / SystemPage.size)
    while count > 1 {
      let half = count / 2
      if unsafe pgw_storage_populate(map.range.base + start, half * SystemPage.size) == 0 {
        start += half * SystemPage.size
        count -= half
      } else {
        count = half
      }
    }
    return start
  }

  @inline(__always) @inlinable
  internal borrowing func enter(_ bounds: Range<Int>?, _ check: FaultCheck) throws(MappingError) -> (Int, Int) {
    let bounds = try map.enter(bounds)
    if check == .stamp || isPoisoned { throw refusal(check) }
    return bounds
  }

  @inlinable
  internal borrowing func leave(_ check: FaultCheck, _ upper: Int) throws(MappingError) {
    if map.range.flag.isRaised { throw map.faultError(.write) }
    if check == .size { try map.compareWithFile(.size, since: nil, upTo: upper, .write) }
  }

  @inline(never) @usableFromInline
  internal borrowing func refusal(_ check: FaultCheck) -> MappingError {
    if isPoisoned { return poisonError(.write) }
    return MappingError(.notSupported, operation: .write, path: path, detail: .note("a writer moves the stamp itself"))
  }

  @inline(never) @usableFromInline
  internal borrowing func storeRangeError(_ offset: Int, _ size: Int) -> MappingError {
    MappingError(
      .invalidRange, operation: .write, path: path,
      offset: fileOffset.addingReportingOverflow(Int64(offset)).partialValue, length: Int64(size),
      detail: .note("the view has \(count) bytes"))
  }

  /// A copy moves many bytes at once and stops before those of which one is on the lost page: stores the others. Returns how
  /// many are missing then.
  @inline(never) @usableFromInline
  internal mutating func storeUpToPageEnd(
    _ source: UnsafeRawPointer, _ size: Int, _ missing: Int, at offset: Int
  ) -> Int {
    let done = size - missing
    let target = unsafe map.viewStart + (offset + done)
    let step = SystemPage.size - Int(bitPattern: target) & (SystemPage.size - 1)
    guard step < missing else { return missing }
    return unsafe missing - step + pgw_copy_checked(target, source + done, step)
  }

  /// Why `missing` of the `size` bytes at `offset` could not be stored.
  @inline(never) @usableFromInline
  internal borrowing func storeError(_ offset: Int, _ size: Int, _ missing: Int) -> MappingError {
    if missing == 0 { return map.faultError(.write) }
    let first = fileOffset + Int64(offset + size - missing)
    return map.range.faultOrigin.storeFailure(
      MappingError(.faulted, operation: .write, path: path, offset: first, length: Int64(missing)), at: first)
  }
}

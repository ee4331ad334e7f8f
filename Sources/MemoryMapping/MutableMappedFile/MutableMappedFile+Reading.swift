// SPDX-License-Identifier: Apache-2.0

extension MutableMappedFile {
  /// Runs `body` over the read-only half of the mapping: its cursors, searches and typed loads.
  ///
  /// - Parameter body: must not keep the mapping.
  /// - Throws: what `body` throws.
  public borrowing func withReader<R: ~Copyable, E: Error>(
    _ body: (borrowing MappedFile) throws(E) -> R
  ) throws(E) -> R { try body(map) }

  /// Runs `body` over the bytes; throws afterwards if any of them may have been made up. See ``MappedFile``.
  ///
  /// - Parameters:
  ///   - bounds: a part of the view; nil for all of it.
  ///   - check: what is proved at the end.
  ///   - body: must not suspend. The span cannot leave it.
  /// - Throws: ``MappingError``.
  @inlinable
  public borrowing func withBytes<R>(
    _ bounds: Range<Int>? = nil, check: FaultCheck = .pages, _ body: (RawSpan) -> R
  ) throws(MappingError) -> R { try map.withBytes(bounds, check: check, body) }

  /// The same for a body that throws. A lost page wins over the body's own error.
  ///
  /// - Parameters:
  ///   - bounds: a part of the view; nil for all of it.
  ///   - check: what is proved at the end.
  ///   - body: must not suspend. The span cannot leave it.
  /// - Throws: ``MappingError``, or what `body` throws.
  @inlinable
  public borrowing func withBytes<R>(
    _ bounds: Range<Int>? = nil, check: FaultCheck = .pages, _ body: (RawSpan) throws -> R
  ) throws -> R { try map.withBytes(bounds, check: check, body) }

  /// Reads one value: never killed, never an invented byte. See ``MappedFile``.
  ///
  /// - Parameters:
  ///   - offset: in bytes from the start of the view; any value is allowed.
  ///   - type: read in this machine's byte order.
  ///   - check: what is proved.
  /// - Throws: ``MappingError``.
  @inlinable
  public borrowing func load<T: FixedLayout>(
    at offset: Int, as type: T.Type = T.self, check: FaultCheck = .size
  ) throws(MappingError) -> T { try map.load(at: offset, as: type, check: check) }

  /// Copies bytes out of the mapping: never killed, never an invented byte. See ``MappedFile``.
  ///
  /// - Parameters:
  ///   - bounds: bytes of the view.
  ///   - destination: at least as large; its content is undefined after an error.
  ///   - check: what is proved.
  /// - Throws: ``MappingError``.
  @inlinable
  public borrowing func copy(
    _ bounds: Range<Int>, into destination: UnsafeMutableRawBufferPointer, check: FaultCheck = .size
  ) throws(MappingError) { try unsafe map.copy(bounds, into: destination, check: check) }

  /// Throws if a page of the mapping was lost before now. About a nanosecond.
  ///
  /// - Throws: ``MappingError`` with the reason of the loss.
  @inlinable
  public borrowing func checkFault() throws(MappingError) { try map.checkFault() }

  /// Tells the kernel how `bounds` will be used.
  ///
  /// A program that stores in place and in no order should give `.random` before the first touch: with large folios the
  /// kernel otherwise writes back up to 2 MiB for each byte that was stored.
  ///
  /// - Parameters:
  ///   - advice: see ``Advice``.
  ///   - bounds: a part of the view; nil for all of it.
  /// - Throws: `notSupported`, `invalidRange`.
  public borrowing func advise(_ advice: Advice, _ bounds: Range<Int>? = nil) throws(MappingError) {
    try map.advise(advice, bounds)
  }

  /// How much of `bounds` is in the page cache. See ``MappedFile/residency(_:)``.
  ///
  /// - Parameter bounds: a part of the view; nil for all of it.
  /// - Throws: ``MappingError``.
  public borrowing func residency(_ bounds: Range<Int>? = nil) throws(MappingError) -> Residency {
    try map.residency(bounds)
  }

  /// Keeps the pages of `bounds` in memory. See ``MappedFile/lock(_:onFault:)``.
  ///
  /// - Parameters:
  ///   - bounds: a part of the view; nil for all of it.
  ///   - onFault: each page once it is touched.
  /// - Throws: `lockLimitReached` with the remedy.
  public borrowing func lock(_ bounds: Range<Int>? = nil, onFault: Bool = false) throws(MappingError) {
    try map.lock(bounds, onFault: onFault)
  }

  /// Ends ``lock(_:onFault:)``.
  ///
  /// - Parameter bounds: a part of the view; nil for all of it.
  /// - Throws: ``MappingError``.
  public borrowing func unlock(_ bounds: Range<Int>? = nil) throws(MappingError) { try map.unlock(bounds) }

  /// Asks whether every page of `bounds` can be read now. See ``MappedFile/probe(_:)``.
  ///
  /// - Parameter bounds: a part of the view; nil for all of it.
  /// - Throws: ``MappingError`` with the offset of the first page that cannot be had.
  public borrowing func probe(_ bounds: Range<Int>? = nil) throws(MappingError) { try map.probe(bounds) }
}

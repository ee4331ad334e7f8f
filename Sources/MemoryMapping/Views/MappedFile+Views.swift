// SPDX-License-Identifier: Apache-2.0

// Cursors over a mapping. Each borrows the mapping, so it cannot outlive it, and checks for lost
// pages as it goes.
extension MappedFile {
  /// A cursor over the lines of the file, which ends lines at LF or CR LF.
  ///
  /// ```swift
  /// var lines = map.lines()
  /// while let line = try lines.next() {
  ///   longest = max(longest, line.byteCount)
  /// }
  /// ```
  ///
  /// What was computed from the lines holds once `next()` has returned nil: see ``FaultChecked``.
  ///
  /// - Parameter terminators: whether lines keep the bytes that end them.
  /// - Complexity: O(1); several times faster than `getline` to go through.
  @_lifetime(borrow self)
  public borrowing func lines(
    terminators: LineTerminators = .dropped
  ) -> LineCursor<FaultChecked> {
    let cursor = unsafe LineCursor(bytes, terminators: terminators, check: FaultChecked(self))
    return unsafe _overrideLifetime(cursor, borrowing: self)
  }

  /// A cursor over chunks of `size` bytes; the last may be shorter.
  ///
  /// - Precondition: `size` is positive.
  /// - Complexity: O(1).
  @_lifetime(borrow self)
  public borrowing func chunks(of size: Int) -> ChunkCursor<FaultChecked> {
    let cursor = unsafe ChunkCursor(bytes, chunkSize: size, check: FaultChecked(self))
    return unsafe _overrideLifetime(cursor, borrowing: self)
  }

  /// A cursor over values of `type` that lie one after the other, in this machine's byte order.
  ///
  /// - Throws: ``LayoutError`` when the type's adoption of ``FixedLayout`` is wrong. Never depends
  ///   on the bytes.
  /// - Complexity: O(1).
  @_lifetime(borrow self)
  public borrowing func records<Record: FixedLayout>(
    of type: Record.Type
  ) throws(LayoutError) -> RecordCursor<Record, FaultChecked> {
    let cursor = unsafe try RecordCursor(bytes, of: type, check: FaultChecked(self))
    return unsafe _overrideLifetime(cursor, borrowing: self)
  }

  /// A cursor over records of `stride` bytes.
  ///
  /// - Throws: ``LayoutError`` when `stride`, which may come from the data, is not positive.
  /// - Complexity: O(1).
  @_lifetime(borrow self)
  public borrowing func records(
    stride: Int
  ) throws(LayoutError) -> RawRecordCursor<FaultChecked> {
    let cursor = unsafe try RawRecordCursor(bytes, stride: stride, check: FaultChecked(self))
    return unsafe _overrideLifetime(cursor, borrowing: self)
  }

  /// A cursor over the places where `needle` stands, by offset in the view.
  ///
  /// - Complexity: O(needle), which is copied.
  @_lifetime(borrow self)
  public borrowing func matches(of needle: [UInt8]) -> MatchCursor<FaultChecked> {
    let cursor = unsafe MatchCursor(bytes, needle: needle, check: FaultChecked(self))
    return unsafe _overrideLifetime(cursor, borrowing: self)
  }

  /// The same for the UTF-8 bytes of a text.
  @_lifetime(borrow self)
  public borrowing func matches(of needle: String) -> MatchCursor<FaultChecked> {
    let cursor = unsafe MatchCursor(
      bytes, needle: Array(needle.utf8), check: FaultChecked(self))
    return unsafe _overrideLifetime(cursor, borrowing: self)
  }
}

// SPDX-License-Identifier: Apache-2.0

/// Goes through values of one ``FixedLayout`` type that lie one after the other.
///
/// ```swift
/// var ticks = try bytes.records(of: Tick.self)
/// while let tick = ticks.next() {
///   volume += UInt64(tick.size)
/// }
/// if !ticks.remainder.isEmpty { print("the last record is unfinished") }
/// ```
///
/// A cursor over a ``MappedFile`` is made by ``MappedFile/records(of:)`` and its `next()` throws.
public struct RecordCursor<Record: FixedLayout, Check: CursorCheck & ~Copyable>: ~Copyable,
  ~Escapable
{
  @usableFromInline internal let bytes: RawSpan
  @usableFromInline internal var check: StepCheck<Check>
  /// End of the last whole record, from the start of the bytes.
  @usableFromInline internal let end: Int
  @usableFromInline internal var position = 0

  /// Throws unless the layout of `Record` is proved.
  @usableFromInline
  @_lifetime(copy bytes)
  internal init(_ bytes: RawSpan, of type: Record.Type, check: consuming Check) throws(LayoutError) {
    try verifyFixedLayout(type)
    self.bytes = bytes
    self.check = StepCheck(check)
    // Not zero: the proof says so.
    self.end = bytes.byteCount - bytes.byteCount % MemoryLayout<Record>.stride
  }

  /// Bytes gone through so far: where the next record begins, from the start of the bytes.
  @inlinable
  public var offset: Int { position }

  /// Whole records from the start to the end, gone through or not.
  public var count: Int { end / MemoryLayout<Record>.stride }

  /// The bytes after the last whole record: empty when the input ends with one. Known from the
  /// start.
  public var remainder: RawSpan {
    @_lifetime(copy self)
    get { bytes.extracting(end..<bytes.byteCount) }
  }

  /// The next value, or nil after the last whole record.
  ///
  /// After a call that threw, the cursor is at its end and returns nil.
  ///
  /// - Throws: over a mapping ``MappingError`` when a page was lost, in this step or before it;
  ///   over a bare span nothing.
  /// - Complexity: O(1), unaligned bytes included.
  @inlinable
  public mutating func next() throws(Check.Failure) -> Record? {
    let start = position
    if start == end {
      try check.end()
      return nil
    }
    position = start &+ MemoryLayout<Record>.stride
    let record = bytes.loadInBounds(at: start, as: Record.self)
    do throws(Check.Failure) { try check.step() } catch {
      position = end
      throw error
    }
    return record
  }

  /// Leaves out records.
  ///
  /// - Parameter count: how many; more than are left goes to the end, none or less goes nowhere.
  public mutating func skip(_ count: Int) {
    let stride = MemoryLayout<Record>.stride
    position += min(max(count, 0), (end - position) / stride) * stride
  }
}

/// Goes through records of a size that is known at run time only, as bytes.
///
/// A cursor over a ``MappedFile`` is made by ``MappedFile/records(stride:)`` and its `next()`
/// throws.
public struct RawRecordCursor<Check: CursorCheck & ~Copyable>: ~Copyable, ~Escapable {
  @usableFromInline internal let bytes: RawSpan
  @usableFromInline internal var check: StepCheck<Check>
  /// Bytes per record.
  public let stride: Int
  @usableFromInline internal let end: Int
  @usableFromInline internal var position = 0

  @usableFromInline
  @_lifetime(copy bytes)
  internal init(_ bytes: RawSpan, stride: Int, check: consuming Check) throws(LayoutError) {
    // Thrown and not trapped: a record size often stands in the file's own header.
    guard stride > 0 else {
      throw LayoutError(typeName: "The record", problem: .strideNotPositive(stride))
    }
    self.bytes = bytes
    self.stride = stride
    self.check = StepCheck(check)
    self.end = bytes.byteCount - bytes.byteCount % stride
  }

  /// Bytes gone through so far: where the next record begins, from the start of the bytes.
  @inlinable
  public var offset: Int { position }

  /// Whole records from the start to the end, gone through or not.
  public var count: Int { end / stride }

  /// The bytes after the last whole record: empty when the input ends with one. Known from the
  /// start.
  public var remainder: RawSpan {
    @_lifetime(copy self)
    get { bytes.extracting(end..<bytes.byteCount) }
  }

  /// The next record's bytes, exactly ``stride`` of them, or nil after the last whole record.
  ///
  /// After a call that threw, the cursor is at its end and returns nil.
  ///
  /// - Throws: over a mapping ``MappingError`` when a page was lost while the record before was
  ///   used; over a bare span nothing.
  /// - Complexity: O(1).
  @inlinable
  @_lifetime(copy self)
  public mutating func next() throws(Check.Failure) -> RawSpan? {
    let start = position
    if start == end {
      try check.end()
      return nil
    }
    position = start &+ stride
    do throws(Check.Failure) { try check.step() } catch {
      position = end
      throw error
    }
    // In bounds: `end` is a multiple of the stride that is not above byteCount.
    return unsafe bytes.extracting(unchecked: start..<(start &+ stride))
  }

  /// Leaves out records.
  ///
  /// - Parameter count: how many; more than are left goes to the end, none or less goes nowhere.
  public mutating func skip(_ count: Int) {
    position += min(max(count, 0), (end - position) / stride) * stride
  }
}

extension RawSpan {
  /// A cursor over values of `type` that lie one after the other, in this machine's byte order. Its
  /// `next()` does not throw.
  ///
  /// - Throws: ``LayoutError`` when the type's adoption of ``FixedLayout`` is wrong. Never depends
  ///   on the bytes.
  @inlinable
  @_lifetime(copy self)
  public func records<Record: FixedLayout>(
    of type: Record.Type
  ) throws(LayoutError) -> RecordCursor<Record, ScopeChecked> {
    try RecordCursor(self, of: type, check: ScopeChecked())
  }

  /// A cursor over records of `stride` bytes. Its `next()` does not throw.
  ///
  /// - Throws: ``LayoutError`` when `stride`, which may come from the data, is not positive.
  @inlinable
  @_lifetime(copy self)
  public func records(stride: Int) throws(LayoutError) -> RawRecordCursor<ScopeChecked> {
    try RawRecordCursor(self, stride: stride, check: ScopeChecked())
  }
}

// SPDX-License-Identifier: Apache-2.0

public import CPlatform

/// What becomes of the bytes that end a line.
public enum LineTerminators: Sendable, Hashable {
  /// Lines come without their LF, or CR and LF.
  case dropped
  /// Lines come with it, so that their concatenation is the input.
  case kept
}

/// Goes through the lines of some bytes without copying them.
///
/// A line ends with LF, or with CR and LF. A CR elsewhere is part of its line. The last line needs
/// no terminator; a terminator at the end starts no further, empty line; no bytes are no lines.
/// Lines may have any length and any bytes.
///
/// ```swift
/// var lines = bytes.lines()
/// while let line = lines.next() {
///   total += line.byteCount
/// }
/// ```
///
/// A line is a view of the original bytes, and stays valid as they do: several lines can be held at
/// once. Nothing is allocated. A cursor over a ``MappedFile`` is made by
/// ``MappedFile/lines(terminators:)`` and its `next()` throws.
///
/// Newlines are found 64 bytes at a time as a bit mask and taken from it one by one; a line that is
/// longer than some blocks is skipped through by `memchr`. C counterpart: `getline`, without its
/// copy and its lock.
public struct LineCursor<Check: CursorCheck & ~Copyable>: ~Copyable, ~Escapable {
  @usableFromInline internal let bytes: RawSpan
  @usableFromInline internal var check: StepCheck<Check>
  @usableFromInline internal let keepsTerminators: Bool
  /// Newlines of the present block that were not yet handed out: bit i is byte i of the block.
  @usableFromInline internal var newlines: UInt64 = 0
  /// Offset of the present block. Before the first one: such that the next block is at 0.
  @usableFromInline internal var blockStart: Int
  @usableFromInline internal var lineStart = 0

  @inlinable
  @_lifetime(copy bytes)
  internal init(_ bytes: RawSpan, terminators: LineTerminators, check: consuming Check) {
    self.bytes = bytes
    self.check = StepCheck(check)
    self.keepsTerminators = terminators == .kept
    self.blockStart = -PGW_BLOCK_SIZE
  }

  /// Bytes gone through so far: where the next line begins, from the start of the bytes.
  @inlinable
  public var offset: Int { lineStart }

  /// The next line, or nil after the last.
  ///
  /// Each call that returns a line moves ``offset`` ahead by at least one byte. After a call that
  /// threw, the cursor is at its end and returns nil.
  ///
  /// - Throws: over a mapping ``MappingError`` when a page was lost, in this step or between it and
  ///   the one before; over a bare span nothing.
  /// - Complexity: O(length of the line); one to three nanoseconds for short lines.
  @inlinable
  @_lifetime(copy self)
  public mutating func next() throws(Check.Failure) -> RawSpan? {
    if newlines == 0, !loadBlock() { return try lastLine() }
    let end = blockStart &+ newlines.trailingZeroBitCount
    newlines &= newlines &- 1
    let start = lineStart
    lineStart = end &+ 1
    var upper = lineStart
    if !keepsTerminators {
      upper = end
      if end > start, byte(at: end &- 1) == UInt8(ascii: "\r") { upper = end &- 1 }
    }
    do throws(Check.Failure) { try check.step() } catch {
      finish()
      throw error
    }
    // In bounds: start <= upper <= end + 1 <= byteCount, since `end` is where a newline was found.
    return unsafe bytes.extracting(unchecked: start..<upper)
  }

  @inlinable @inline(__always)
  internal func byte(at offset: Int) -> UInt8 {
    unsafe bytes.unsafeLoad(fromUncheckedByteOffset: offset, as: UInt8.self)
  }

  /// Steps to the next block that has a newline. False when there is none.
  @inlinable
  internal mutating func loadBlock() -> Bool {
    let size = PGW_BLOCK_SIZE
    // Four blocks are looked at here, which is all for most lines; then memchr goes faster.
    for _ in 0..<4 {
      blockStart &+= size
      guard blockStart <= bytes.byteCount &- size else { return loadTail() }
      newlines = unsafe bytes.withUnsafeBytes {
        unsafe pgw_block_mask($0.baseAddress.unsafelyUnwrapped + blockStart, UInt8(ascii: "\n"))
      }
      if newlines != 0 { return true }
    }
    return loadFarBlock()
  }

  /// The last block, of fewer than 64 bytes; or none.
  @inline(never) @usableFromInline
  internal mutating func loadTail() -> Bool {
    // A cursor at its end stays there, so that blockStart cannot overflow however often next() is
    // called.
    guard blockStart < bytes.byteCount else {
      blockStart = bytes.byteCount
      return false
    }
    newlines = unsafe bytes.withUnsafeBytes {
      unsafe pgw_tail_mask($0.baseAddress! + blockStart, $0.count - blockStart, UInt8(ascii: "\n"))
    }
    return newlines != 0
  }

  /// The block of the first newline after the present, empty block, however far off.
  @inline(never) @usableFromInline
  internal mutating func loadFarBlock() -> Bool {
    let size = PGW_BLOCK_SIZE
    let from = blockStart + size
    let found = unsafe bytes.withUnsafeBytes {
      unsafe from + pgw_find_byte($0.baseAddress! + from, $0.count - from, UInt8(ascii: "\n"))
    }
    // Back to where a block begins: what lies between has no newline.
    blockStart = found - found % size
    guard blockStart <= bytes.byteCount - size else { return loadTail() }
    newlines = unsafe bytes.withUnsafeBytes {
      unsafe pgw_block_mask($0.baseAddress! + blockStart, UInt8(ascii: "\n"))
    }
    return newlines != 0
  }

  /// The line without a terminator, once; then nil.
  @inline(never) @usableFromInline
  @_lifetime(copy self)
  internal mutating func lastLine() throws(Check.Failure) -> RawSpan? {
    let start = lineStart
    let isEnd = start == bytes.byteCount
    finish()
    if isEnd { try check.end() } else { try check.step() }
    return isEnd ? nil : bytes.extracting(start..<bytes.byteCount)
  }

  /// Nothing is left.
  @usableFromInline
  internal mutating func finish() {
    newlines = 0
    blockStart = bytes.byteCount
    lineStart = bytes.byteCount
  }
}

extension RawSpan {
  /// A cursor over the lines of these bytes, which ends lines at LF or CR LF. It does not throw.
  ///
  /// - Parameter terminators: whether lines keep the bytes that end them.
  @inlinable
  @_lifetime(copy self)
  public func lines(terminators: LineTerminators = .dropped) -> LineCursor<ScopeChecked> {
    LineCursor(self, terminators: terminators, check: ScopeChecked())
  }
}

// SPDX-License-Identifier: Apache-2.0

/// Goes through some bytes in chunks of one size; the last may be shorter.
///
/// ```swift
/// var chunks = bytes.chunks(of: 1 << 20)
/// while let chunk = chunks.next() {
///   checksum.add(chunk)
/// }
/// ```
///
/// A cursor over a ``MappedFile`` is made by ``MappedFile/chunks(of:)`` and its `next()` throws.
public struct ChunkCursor<Check: CursorCheck & ~Copyable>: ~Copyable, ~Escapable {
  @usableFromInline internal let bytes: RawSpan
  @usableFromInline internal var check: StepCheck<Check>
  /// Bytes per chunk.
  public let chunkSize: Int
  /// Bytes gone through so far: where the next chunk begins, from the start of the bytes.
  public private(set) var offset = 0

  @usableFromInline
  @_lifetime(copy bytes)
  internal init(_ bytes: RawSpan, chunkSize: Int, check: consuming Check) {
    precondition(chunkSize > 0, "chunks(of:): a chunk has at least one byte")
    self.bytes = bytes
    self.chunkSize = chunkSize
    self.check = StepCheck(check)
  }

  /// The next chunk, or nil after the last.
  ///
  /// Each call that returns a chunk moves ``offset`` ahead by its size. After a call that threw,
  /// the cursor is at its end and returns nil.
  ///
  /// - Throws: over a mapping ``MappingError`` when a page was lost while the chunk before was
  ///   used; over a bare span nothing.
  /// - Complexity: O(1).
  @_lifetime(copy self)
  public mutating func next() throws(Check.Failure) -> RawSpan? {
    let start = offset
    if start == bytes.byteCount {
      try check.end()
      return nil
    }
    offset += min(chunkSize, bytes.byteCount - start)
    do throws(Check.Failure) { try check.step() } catch {
      offset = bytes.byteCount
      throw error
    }
    return bytes.extracting(start..<offset)
  }
}

extension RawSpan {
  /// A cursor over chunks of `size` bytes; the last may be shorter. It does not throw.
  ///
  /// - Precondition: `size` is positive.
  @_lifetime(copy self)
  public func chunks(of size: Int) -> ChunkCursor<ScopeChecked> {
    ChunkCursor(self, chunkSize: size, check: ScopeChecked())
  }
}

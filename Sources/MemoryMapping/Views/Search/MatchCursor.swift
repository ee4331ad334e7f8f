// SPDX-License-Identifier: Apache-2.0

/// Goes through the places where a needle stands in some bytes, by offset.
///
/// ```swift
/// var matches = bytes.matches(of: "ERROR")
/// while let offset = matches.next() {
///   print(offset)
/// }
/// ```
///
/// Matches do not overlap: the search goes on behind each. A needle without bytes stands at each
/// offset, the end included. A cursor over a ``MappedFile`` is made by `MappedFile.matches(of:)`
/// and its `next()` throws.
public struct MatchCursor<Check: CursorCheck & ~Copyable>: ~Copyable, ~Escapable {
  @usableFromInline internal let bytes: RawSpan
  @usableFromInline internal let needle: [UInt8]
  @usableFromInline internal var check: StepCheck<Check>
  /// Where the search goes on; beyond the end when there is nothing left.
  private var position = 0

  @usableFromInline
  @_lifetime(copy bytes)
  internal init(_ bytes: RawSpan, needle: [UInt8], check: consuming Check) {
    self.bytes = bytes
    self.needle = needle
    self.check = StepCheck(check)
  }

  /// The offset of the next match, or nil after the last.
  ///
  /// Each match lies behind the one before. After a call that threw, the cursor is at its end and
  /// returns nil.
  ///
  /// - Throws: over a mapping ``MappingError`` when a page was lost, in this step or before it;
  ///   over a bare span nothing.
  /// - Complexity: O(distance to the match).
  public mutating func next() throws(Check.Failure) -> Int? {
    guard let found = bytes.find(needle, from: position) else {
      position = bytes.byteCount + 1
      try check.end()
      return nil
    }
    position = found + max(1, needle.count)
    do throws(Check.Failure) { try check.step() } catch {
      position = bytes.byteCount + 1
      throw error
    }
    return found
  }
}

extension RawSpan {
  /// A cursor over the places where `needle` stands. It does not throw.
  ///
  /// - Complexity: O(needle), which is copied.
  @_lifetime(copy self)
  public func matches(of needle: [UInt8]) -> MatchCursor<ScopeChecked> {
    MatchCursor(self, needle: needle, check: ScopeChecked())
  }

  /// The same for the UTF-8 bytes of a text.
  @_lifetime(copy self)
  public func matches(of needle: String) -> MatchCursor<ScopeChecked> {
    MatchCursor(self, needle: Array(needle.utf8), check: ScopeChecked())
  }
}

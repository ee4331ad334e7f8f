// SPDX-License-Identifier: Apache-2.0

internal import CPlatform

extension RawSpan {
  /// How many bytes equal `byte`: the number of lines of a text, for LF.
  ///
  /// - Complexity: O(n), by vectors; the speed of memory. C counterpart: what `wc -l` does.
  public func count(of byte: UInt8) -> Int {
    unsafe withUnsafeBytes { bytes in
      guard let start = bytes.baseAddress else { return 0 }
      return unsafe Int(pgw_count_byte(start, bytes.count, byte))
    }
  }

  /// Offset of the first `byte` at `start` or after, or nil.
  ///
  /// - Parameter start: in bytes; below 0 means 0, beyond the end finds nothing.
  /// - Complexity: O(n). C counterpart: `memchr`.
  public func find(_ byte: UInt8, from start: Int = 0) -> Int? {
    let start = Swift.max(0, start)
    guard start < byteCount else { return nil }
    let found = unsafe withUnsafeBytes { bytes in
      unsafe start + pgw_find_byte(bytes.baseAddress! + start, bytes.count - start, byte)
    }
    return found < byteCount ? found : nil
  }

  /// Offset of the first place at `start` or after where the bytes of `needle` stand, or nil.
  ///
  /// - Parameters:
  ///   - needle: any bytes; none stand everywhere, also at the end.
  ///   - start: in bytes; below 0 means 0, beyond the end finds nothing.
  /// - Complexity: O(n), for every needle. C counterpart: `memmem`.
  public func find(_ needle: RawSpan, from start: Int = 0) -> Int? {
    let start = Swift.max(0, start)
    guard start <= byteCount, needle.byteCount <= byteCount - start else { return nil }
    if needle.byteCount == 0 { return start }
    let found = unsafe withUnsafeBytes { bytes in
      unsafe needle.withUnsafeBytes { needle in
        unsafe pgw_find(
          bytes.baseAddress! + start, bytes.count - start, needle.baseAddress!, needle.count)
      }
    }
    // SIZE_MAX stands for "nowhere" and comes in as -1.
    return found < 0 ? nil : start + found
  }

  /// The same for a needle in an array.
  public func find(_ needle: [UInt8], from start: Int = 0) -> Int? {
    // Bytes of an array of UInt8 are all initialized.
    find(unsafe needle.span.bytes, from: start)
  }

  /// The same for the UTF-8 bytes of a text. Compares bytes: two ways to write one character are
  /// different.
  public func find(_ needle: String, from start: Int = 0) -> Int? {
    find(unsafe needle.utf8Span.span.bytes, from: start)
  }

  /// True where the bytes of `other` stand at the start.
  public func starts(with other: RawSpan) -> Bool {
    guard other.byteCount <= byteCount else { return false }
    return extracting(first: other.byteCount).isEqual(to: other)
  }

  /// True for the same bytes. C counterpart: `memcmp`.
  public func isEqual(to other: RawSpan) -> Bool {
    guard byteCount == other.byteCount else { return false }
    return unsafe withUnsafeBytes { mine in
      unsafe other.withUnsafeBytes {
        unsafe pgw_equal(mine.baseAddress, $0.baseAddress, mine.count)
      }
    }
  }
}

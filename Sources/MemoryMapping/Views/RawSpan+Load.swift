// SPDX-License-Identifier: Apache-2.0

/// An access that does not lie in its view.
public struct ViewBoundsError: Error, Sendable, Hashable, CustomStringConvertible {
  /// Where the access begins, in bytes from the start of the view.
  public let offset: Int
  /// How many bytes it wants.
  public let length: Int
  /// How many bytes the view has.
  public let count: Int

  @inlinable
  internal init(offset: Int, length: Int, count: Int) {
    self.offset = offset
    self.length = length
    self.count = count
  }

  /// One line that ends with a remedy.
  public var description: String {
    "\(length) bytes at \(offset) do not lie in a view of \(count) bytes. Check the length or offset that the data states."
  }
}

// Two forms, because an offset has two origins. One that was read from the data may be anything, so
// `load` throws. One that the program computed is right or a mistake, so the subscript traps as an
// array's does. Both are checked, neither needs alignment, and both compile to one compare and one
// load.
extension RawSpan {
  /// Reads a value whose offset comes from the data.
  ///
  /// - Parameters:
  ///   - offset: in bytes from the start of the span; need not be aligned; any value is allowed.
  ///   - type: read in this machine's byte order.
  /// - Throws: ``ViewBoundsError`` when the value does not lie in the span.
  /// - Complexity: O(1). C counterpart: `memcpy` into a local after a bounds check.
  @inlinable @inline(__always)
  public func load<T: FixedLayout>(
    at offset: Int, as type: T.Type = T.self
  ) throws(ViewBoundsError) -> T {
    // The subtraction cannot overflow: both are sizes of things in memory.
    guard offset >= 0, offset <= byteCount &- MemoryLayout<T>.size else {
      throw ViewBoundsError(offset: offset, length: MemoryLayout<T>.size, count: byteCount)
    }
    if !T._isPrimitiveLayout { VerifiedLayouts.require(type) }
    return loadInBounds(at: offset, as: type)
  }

  /// Reads an integer that is stored with its lowest byte first, at an offset that comes from the
  /// data.
  ///
  /// - Throws: ``ViewBoundsError`` when the integer does not lie in the span.
  /// - Complexity: O(1). C counterpart: `le16toh` and its kin.
  @inlinable @inline(__always)
  public func loadLittleEndian<T: FixedLayout & FixedWidthInteger>(
    at offset: Int, as type: T.Type = T.self
  ) throws(ViewBoundsError) -> T {
    T(littleEndian: try load(at: offset, as: type))
  }

  /// Reads an integer that is stored with its highest byte first (network order), at an offset that
  /// comes from the data.
  ///
  /// - Throws: ``ViewBoundsError`` when the integer does not lie in the span.
  /// - Complexity: O(1). C counterpart: `be16toh` and its kin, `ntohl`.
  @inlinable @inline(__always)
  public func loadBigEndian<T: FixedLayout & FixedWidthInteger>(
    at offset: Int, as type: T.Type = T.self
  ) throws(ViewBoundsError) -> T {
    T(bigEndian: try load(at: offset, as: type))
  }

  /// Reads a value whose offset the program computed, in this machine's byte order.
  ///
  /// - Precondition: the value lies in the span. For an offset that comes from the data use
  ///   ``load(at:as:)``.
  /// - Complexity: O(1); in a loop over a range the compiler can hoist the check.
  @inlinable @inline(__always)
  public subscript<T: FixedLayout>(offset: Int, as type: T.Type) -> T {
    precondition(
      offset >= 0 && offset <= byteCount &- MemoryLayout<T>.size,
      "RawSpan[offset, as:]: the value must lie in the span; for an offset from the data use load(at:as:)"
    )
    if !T._isPrimitiveLayout { VerifiedLayouts.require(type) }
    return loadInBounds(at: offset, as: type)
  }

  /// For callers that checked the bounds and the layout.
  @inlinable @inline(__always)
  internal func loadInBounds<T: FixedLayout>(at offset: Int, as type: T.Type) -> T {
    // Right because of what the callers checked, and because every bit pattern is a value of a
    // fixed layout.
    return unsafe unsafeLoadUnaligned(fromUncheckedByteOffset: offset, as: type)
  }
}

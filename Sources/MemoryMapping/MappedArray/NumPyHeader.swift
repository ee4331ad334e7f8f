// SPDX-License-Identifier: Apache-2.0

/// The header of a `.npy` file: what the array is, and where in the file its elements begin.
///
/// ```text
/// byte  0  93 4E 55 4D 50 59         the magic bytes, \x93NUMPY
///       6  major, minor              the format's version: 1.0, 2.0 or 3.0
///       8  length                    of what follows, little-endian: 2 bytes in version 1.0, else 4
///   10/12  {'descr': '<f8', 'fortran_order': False, 'shape': (3, 4), }   spaces, and a newline at the end
///    next  the elements              a multiple of 64 in what NumPy writes
/// ```
///
/// ``init(parsing:)-(RawSpan)`` reads what any NumPy wrote. ``init(elementType:shape:isFortranOrder:minimumHeaderSize:)``
/// makes a new one, and ``encoded()`` gives its bytes, which are those that NumPy writes. A header keeps its place:
/// ``resized(to:)`` changes the dimension along which an array grows and nothing else, so that the new bytes go over the
/// old ones and no element moves.
///
/// The format: `numpy.lib.format`.
public struct NumPyHeader: Sendable, Hashable {
  /// What one element is.
  public let elementType: NumPyElementType
  /// How many elements there are along each dimension. Empty for a single value, which has one element.
  public let shape: [Int]
  /// True where the first dimension varies fastest, as in Fortran, and not the last one, as in C.
  public let isFortranOrder: Bool
  /// The major version of the format: 1, 2 or 3.
  public let formatVersion: Int
  /// Where the elements begin, in bytes from the start of the file. That is the size of the header too.
  public let dataOffset: Int
  /// How many elements there are: the product of the shape.
  public let elementCount: Int
  /// Bytes of all elements.
  public let byteCount: Int

  /// Where the elements end, in bytes from the start of the file: the least size of a whole file.
  public var endOffset: Int { dataOffset + byteCount }

  /// The dimension along which elements can be added behind the last one: the first, or in Fortran order the last; nil
  /// for a single value.
  public var growingDimension: Int? { shape.isEmpty ? nil : isFortranOrder ? shape.count - 1 : 0 }

  /// How many dimensions a header can have. NumPy's own limit since 2.0; before it was 32.
  public static let maximumDimensionCount = 64
  /// How many bytes a header can have here. NumPy writes some hundred, and by default reads no more than 10,000.
  public static let maximumSize = 1 << 20

  /// A header for a new file.
  ///
  /// - Parameters:
  ///   - elementType: what one element is.
  ///   - shape: elements along each dimension, none negative; empty for a single value.
  ///   - isFortranOrder: true where the first dimension varies fastest.
  ///   - minimumHeaderSize: bytes that the header shall have at least, for instance a page; rounded up to a multiple of
  ///     64. With 0 it is as large as NumPy makes it, which leaves room for a growing dimension of 21 digits. NumPy
  ///     refuses to load a header of more than 10,000 bytes unless it is told `max_header_size`.
  /// - Throws: ``MappingError`` with the code ``MappingError/Code/invalidLayout`` and a note for a shape with a negative
  ///   dimension, too many dimensions or too many bytes, and for a size that is negative or above ``maximumSize``.
  public init(
    elementType: NumPyElementType, shape: [Int], isFortranOrder: Bool = false, minimumHeaderSize: Int = 0
  ) throws(MappingError) {
    guard 0...Self.maximumSize ~= minimumHeaderSize else {
      throw .numPyHeader(
        .write, "a header of \(minimumHeaderSize) bytes; 0 to \(Self.maximumSize) can be had")
    }
    // The text does not depend on the place, and it fits both limits of 64 dimensions and 1 MiB by far.
    let text = Self.text(elementType: elementType, shape: shape, isFortranOrder: isFortranOrder)
    let growth = Self.growthRoom(shape: shape, isFortranOrder: isFortranOrder)
    let (version, size) = Self.layout(textSize: text.utf8.count + growth, minimumSize: minimumHeaderSize)
    try self.init(
      elementType: elementType, shape: shape, isFortranOrder: isFortranOrder, formatVersion: version, dataOffset: size,
      operation: .write)
  }

  /// The same header for an array that was grown or cut along ``growingDimension``. It has the same size.
  ///
  /// - Parameter count: elements along that dimension.
  /// - Throws: ``MappingError`` with the code ``MappingError/Code/invalidLayout`` and a note for a single value, a
  ///   negative count, too many bytes, or a text that does not fit into the place of the old one. The last cannot happen
  ///   to headers made here or written by NumPy 1.24 or later.
  public func resized(to count: Int) throws(MappingError) -> NumPyHeader {
    guard let dimension = growingDimension else {
      throw .numPyHeader(.write, "a single value has no dimension that could grow")
    }
    var shape = shape
    shape[dimension] = count
    let resized = try NumPyHeader(
      elementType: elementType, shape: shape, isFortranOrder: isFortranOrder, formatVersion: formatVersion,
      dataOffset: dataOffset, operation: .write)
    _ = try resized.textInPlace()
    return resized
  }

  /// Checks what the parts must fulfil together.
  ///
  /// - Parameter offset: where the shape stands in the file, if in one.
  internal init(
    elementType: NumPyElementType, shape: [Int], isFortranOrder: Bool, formatVersion: Int, dataOffset: Int,
    operation: MappingError.Operation, offset: Int? = nil
  ) throws(MappingError) {
    guard shape.count <= Self.maximumDimensionCount else {
      throw .numPyHeader(
        operation, "the shape has \(shape.count) dimensions, more than \(Self.maximumDimensionCount)", at: offset)
    }
    if let dimension = shape.firstIndex(where: { $0 < 0 }) {
      throw .numPyHeader(operation, "dimension \(dimension) of the shape is negative", at: offset)
    }
    guard let extent = Self.byteCount(of: shape, itemSize: elementType.itemSize),
      !extent.addingReportingOverflow(dataOffset).overflow
    else {
      throw .numPyHeader(
        operation, "an array of shape \(Self.text(of: shape)) and \(elementType) elements has too many bytes",
        at: offset)
    }
    self.elementType = elementType
    self.shape = shape
    self.isFortranOrder = isFortranOrder
    self.formatVersion = formatVersion
    self.dataOffset = dataOffset
    byteCount = shape.contains(0) ? 0 : extent
    elementCount = byteCount / elementType.itemSize
  }

  /// Bytes of a shape, where a dimension of 0 counts as 1, or nil where they overflow.
  ///
  /// So that each stride is a number too; NumPy has the same rule: `zeros((0, 2**62, 2**62))` is too big.
  private static func byteCount(of shape: [Int], itemSize: Int) -> Int? {
    var bytes = itemSize
    for count in shape where count > 0 {
      let (product, overflow) = bytes.multipliedReportingOverflow(by: count)
      if overflow { return nil }
      bytes = product
    }
    return bytes
  }
}

extension MappingError {
  internal static func numPyHeader(_ operation: Operation, _ reason: String, at offset: Int? = nil) -> MappingError {
    MappingError(.invalidLayout, operation: operation, offset: offset.map { Int64($0) }, detail: .note(reason))
  }
}

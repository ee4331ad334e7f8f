// SPDX-License-Identifier: Apache-2.0

internal import SystemPackage

/// What an array's code needs to know of its element type once it is no longer generic.
internal struct ArrayElement {
  internal let name: String
  internal let size: Int
  internal let alignment: Int
  /// What a new file gets: the number's own type, or raw bytes.
  internal let type: NumPyElementType
  /// Nil for raw bytes.
  private let number: (any NumPyElement.Type)?

  /// - Throws: `invalidLayout` for a type whose adoption of ``FixedLayout`` is wrong.
  internal init<T: FixedLayout>(_ element: T.Type) throws(MappingError) {
    do throws(LayoutError) { try verifyFixedLayout(element) } catch {
      throw MappingError(.invalidLayout, operation: .map, detail: .note("\(error)"))
    }
    let size = MemoryLayout<T>.size
    name = "\(element)"
    self.size = size
    alignment = MemoryLayout<T>.alignment
    number = element as? any NumPyElement.Type
    type = number?.numPyElementType ?? NumPyElementType(known: .raw, itemSize: size)
    guard type.itemSize == size else {
      throw MappingError(
        .invalidLayout, operation: .map, detail: .note("\(name) has \(size) bytes, and calls itself \(type)"))
    }
  }

  /// Refuses a file whose elements are of another type, of another order unless they are to be turned, or ordered as in
  /// Fortran.
  internal func check(_ header: NumPyHeader, allowsSwapped: Bool) throws(MappingError) {
    func refuse(_ reason: String) -> MappingError { .numPyHeader(.load, reason, at: 0) }
    let stored = header.elementType
    if stored.itemSize != size {
      throw refuse("its elements are \(stored) of \(stored.itemSize) bytes, and \(name) has \(size)")
    }
    guard number?.canRead(stored.inNativeOrder) ?? (stored.kind == .raw) else {
      throw refuse("its elements are \(stored), and \(name) is \(type)")
    }
    guard stored.isNativeOrder || allowsSwapped else {
      throw refuse(
        "its elements are \(stored), in the other byte order; MappedArrayReader turns them, or let NumPy write the file anew"
      )
    }
    // An array of one dimension is the same in both orders.
    if header.isFortranOrder, header.shape.count(where: { $0 > 1 }) > 1 {
      throw refuse("its elements are in Fortran order; let NumPy write it with order='C'")
    }
  }
}

extension NumPyHeader {
  /// Elements between neighbours along each dimension, in C order. NumPy's own strides are bytes.
  internal static func strides(of shape: [Int]) -> [Int] {
    var strides = [Int](repeating: 1, count: shape.count)
    for dimension in shape.indices.dropLast().reversed() {
      // A header's product of the dimensions above 0 is an Int. That of a shape which changed since may wrap, and is then not used:
      // the shape has a 0 in front of it.
      strides[dimension] = strides[dimension + 1] &* shape[dimension + 1]
    }
    return strides
  }

  /// The place of an element among all, or nil outside the shape.
  internal static func place(of indices: [Int], in shape: [Int]) -> Int? {
    guard indices.count == shape.count else { return nil }
    var place = 0
    for (index, count) in zip(indices, shape) {
      guard 0 <= index, index < count else { return nil }
      place = place * count + index
    }
    return place
  }

  /// Reads the header at the start of a file of `size` bytes, and refuses a file that is shorter than it says.
  internal static func checkSize(_ header: NumPyHeader, size: Int64) throws(MappingError) {
    guard size >= Int64(header.endOffset) else {
      throw MappingError(
        .invalidLayout, operation: .load, offset: size, length: Int64(header.endOffset) - size,
        detail: .note(
          "its header states \(header.elementType) elements of shape \(text(of: header.shape)) up to byte "
            + "\(header.endOffset), and the file ends at byte \(size)"))
    }
  }
}

extension MappingError {
  /// The same error with the path of the file that it is about.
  internal func at(_ path: FilePath?) -> MappingError {
    var copy = self
    if copy.path == nil { copy.path = path }
    return copy
  }
}

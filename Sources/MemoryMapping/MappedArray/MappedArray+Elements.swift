// SPDX-License-Identifier: Apache-2.0

extension MappedArray {
  /// Reads one element by its place among all: never killed, never an invented byte.
  ///
  /// - Parameter index: from 0 on, in the order in which the elements lie; any value is allowed.
  /// - Throws: ``MappingError``: `invalidRange`, `truncated`, `inputOutput`.
  /// - Complexity: O(1); some ten nanoseconds, in place with two system calls where a byte of it is zero, see
  ///   ``MappedFile/load(at:as:check:)``. For many elements use ``withSpan(_:_:)``.
  public borrowing func element(at index: Int) throws(MappingError) -> Element {
    guard index >= 0, index < count else { throw file.rangeError(index, index, .load) }
    let offset = file.dataOffset &+ index &* MemoryLayout<Element>.size
    if file.isInPlace { return try file.inPlace!.load(at: offset) }
    return try file.atomic!.load(at: offset)
  }

  /// Reads one element by its index along each dimension.
  ///
  /// - Parameter indices: one for each dimension; any values are allowed.
  /// - Throws: ``MappingError``: `invalidRange` also for another number of indices.
  public borrowing func element(at indices: [Int]) throws(MappingError) -> Element {
    try element(at: try file.place(of: indices))
  }

  /// Changes one element by its place among all: never killed.
  ///
  /// - Parameters:
  ///   - value: the new one.
  ///   - index: from 0 on, in the order in which the elements lie; any value is allowed.
  /// - Throws: ``MappingError``: `invalidRange`, `noSpace`, `truncated`, `inputOutput`, `syncFailed`. The element is as before, but
  ///   for one that lies across the border of a lost page.
  /// - Complexity: O(1); some ten nanoseconds.
  public mutating func store(_ value: Element, at index: Int) throws(MappingError) {
    guard index >= 0, index < count else { throw file.rangeError(index, index, .write) }
    let offset = file.dataOffset &+ index &* MemoryLayout<Element>.size
    if file.isInPlace { return try file.inPlace!.store(value, at: offset) }
    try file.beginIfNeeded()
    try file.atomic!.store(value, at: offset)
  }

  /// Changes one element by its index along each dimension.
  ///
  /// - Parameters:
  ///   - value: the new one.
  ///   - indices: one for each dimension; any values are allowed.
  /// - Throws: ``MappingError``: `invalidRange` also for another number of indices.
  public mutating func store(_ value: Element, at indices: [Int]) throws(MappingError) {
    try store(value, at: try file.place(of: indices))
  }

  /// Runs `body` over the elements; throws afterwards if a page among them was lost.
  ///
  /// - Parameters:
  ///   - bounds: places among all elements; nil for all of them.
  ///   - body: must not suspend. The span cannot leave it.
  /// - Throws: ``MappingError``: `invalidRange`, `truncated`, `inputOutput`; what `body` throws.
  /// - Complexity: O(1) beside the body.
  public borrowing func withSpan<R>(_ bounds: Range<Int>? = nil, _ body: (Span<Element>) throws -> R) throws -> R {
    let range = try file.byteRange(bounds, elementSize: MemoryLayout<Element>.size, .read)
    // Right because the elements begin at a multiple of the alignment, which opening has checked, and any bytes are a value of a
    // fixed layout, which it has proved.
    if file.isInPlace {
      return try file.inPlace!.withBytes(range) { try body(unsafe $0._unsafeView(as: Element.self)) }
    }
    return try file.atomic!.withBytes(range) { try body(unsafe $0._unsafeView(as: Element.self)) }
  }

  /// Runs `body` over the elements, for writing; throws afterwards if a page was lost, and with it what was stored there.
  ///
  /// In place every store is in the file at once, and stays there when `body` throws. As `.atomic` the stores belong to the next
  /// ``commit(_:)`` or ``rollback()``.
  ///
  /// - Parameters:
  ///   - bounds: places among all elements; nil for all of them.
  ///   - body: must not suspend. The span cannot leave it.
  /// - Throws: ``MappingError``: `noSpace`, `truncated`, `inputOutput`, `invalidRange`, `syncFailed`; what `body` throws. After a loss
  ///   the array refuses to write until ``recover()``.
  /// - Complexity: O(1) beside the body.
  public mutating func withMutableSpan<R>(
    _ bounds: Range<Int>? = nil, _ body: (inout MutableSpan<Element>) throws -> R
  ) throws -> R {
    let range = try file.byteRange(bounds, elementSize: MemoryLayout<Element>.size, .write)
    try file.beginIfNeeded()
    // Right for the reasons in `withSpan`.
    if file.isInPlace {
      return try file.inPlace!.withMutableBytes(range) { bytes in
        var span = unsafe bytes._unsafeMutableView(as: Element.self)
        return try body(&span)
      }
    }
    return try file.atomic!.withMutableBytes(range) { bytes in
      var span = unsafe bytes._unsafeMutableView(as: Element.self)
      return try body(&span)
    }
  }
}

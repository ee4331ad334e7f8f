// SPDX-License-Identifier: Apache-2.0

internal import CPlatform
public import SystemPackage

/// Reads an array in a `.npy` file, of NumPy's or of ``MappedArray``'s making, without changing it.
///
/// ```swift
/// let weights = try MappedArrayReader<Float>("weights.npy")
/// print(weights.shape, try weights.element(at: [3, 5]))
/// ```
///
/// Takes C order, any number of dimensions, and both byte orders. Elements in the other order are turned as they are read by
/// ``element(at:)-(Int)`` and ``elements(_:)``; ``withSpan(_:_:)``, which gives the file's own bytes, refuses them.
///
/// The array is as long as its header said when it was opened; open it again to see what was appended. A file that an atomic writer
/// is committing to can be read half old and half new: ``TransactionalReader`` tells. What is promised when the file is cut or
/// its device fails stands at ``MappedFile``.
///
/// Where the type is not known beforehand, ``NumPyHeader/init(readingFrom:)`` gives it.
@safe
public struct MappedArrayReader<Element: FixedLayout>: ~Copyable, Sendable {
  @usableFromInline internal let map: MappedFile
  /// What the file's header says.
  public let header: NumPyHeader
  /// Elements between neighbours along each dimension. (NumPy's are bytes.)
  public let strides: [Int]
  @usableFromInline internal let dataOffset: Int
  /// Elements of the array.
  public let count: Int
  /// Bytes that are turned around together, or 0 in this machine's own order.
  @usableFromInline internal let swappedSize: Int

  /// Maps the file at `path`.
  ///
  /// - Parameters:
  ///   - path: of a `.npy` file.
  ///   - options: how to map it.
  /// - Throws: ``MappingError``: `invalidLayout` with a note that says why for a file that is no `.npy` file, holds elements of
  ///   another type or size, is in Fortran order, or is shorter than its header says; those of
  ///   ``MappedFile/init(_:offset:length:options:)``.
  public init(_ path: FilePath, options: MappedFile.Options = .init()) throws(MappingError) {
    let map = try MappedFile(path, options: options)
    let header: NumPyHeader
    do throws(MappingError) {
      let element = try ArrayElement(Element.self)
      header = try NumPyHeader(startOf: map)
      try element.check(header, allowsSwapped: true)
      try NumPyHeader.checkSize(header, size: Int64(map.count))
    } catch {
      throw error.at(path)
    }
    self.map = map
    self.header = header
    strides = NumPyHeader.strides(of: header.shape)
    dataOffset = header.dataOffset
    count = header.elementCount
    swappedSize = header.elementType.isNativeOrder ? 0 : header.elementType.swappedSize
  }

  /// Elements along each dimension. Empty for a single value.
  public var shape: [Int] { header.shape }
  /// True without elements.
  public var isEmpty: Bool { count == 0 }
  /// True where the elements are in the other byte order, so that there is no span of them.
  public var isSwapped: Bool { swappedSize != 0 }
  /// The path it was opened by.
  public var path: FilePath? { map.path }

  /// Reads one element by its place among all: never killed, never an invented byte.
  ///
  /// - Parameter index: from 0 on, in the order in which the elements lie; any value is allowed.
  /// - Throws: ``MappingError``: `invalidRange`, `truncated`, `inputOutput`.
  /// - Complexity: O(1); some nanoseconds, with two system calls where a byte of it is zero, see
  ///   ``MappedFile/load(at:as:check:)``. For many elements use ``withSpan(_:_:)`` or ``elements(_:)``.
  @inlinable
  public borrowing func element(at index: Int) throws(MappingError) -> Element {
    guard index >= 0, index < count else { throw rangeError(index, index) }
    var element = try map.load(at: dataOffset &+ index &* MemoryLayout<Element>.size, as: Element.self)
    if swappedSize != 0 { Self.turn(&element, swappedSize) }
    return element
  }

  /// Reads one element by its index along each dimension.
  ///
  /// - Parameter indices: one for each dimension; any values are allowed.
  /// - Throws: ``MappingError``: `invalidRange` also for another number of indices.
  public borrowing func element(at indices: [Int]) throws(MappingError) -> Element {
    guard let place = NumPyHeader.place(of: indices, in: shape) else {
      throw MappingError(
        .invalidRange, operation: .load, path: path,
        detail: .note("element \(indices) of an array of shape \(NumPyHeader.text(of: shape))"))
    }
    return try element(at: place)
  }

  /// A copy of elements, in this machine's byte order: exact, or an error.
  ///
  /// - Parameter bounds: places among all elements; nil for all of them.
  /// - Throws: ``MappingError``: `invalidRange`, `truncated`, `inputOutput`.
  /// - Complexity: O(n).
  public borrowing func elements(_ bounds: Range<Int>? = nil) throws(MappingError) -> [Element] {
    let range = try byteRange(bounds)
    let count = range.count / MemoryLayout<Element>.size
    guard count > 0 else { return [] }
    // Typed throws do not pass through the closure.
    var failure: MappingError? = nil
    let turned = swappedSize
    let result = unsafe [Element](unsafeUninitializedCapacity: count) { buffer, used in
      let bytes = UnsafeMutableRawBufferPointer(buffer)
      do throws(MappingError) {
        try unsafe map.copy(range, into: bytes)
        if turned != 0 { unsafe turnBytes(bytes, turned) }
        // Right because the copy filled them, and any bytes are a value of a fixed layout.
        used = count
      } catch { failure = error }
    }
    if let failure { throw failure }
    return result
  }

  /// Runs `body` over the elements as they lie in the file; throws afterwards if a page among them was lost.
  ///
  /// - Parameters:
  ///   - bounds: places among all elements; nil for all of them.
  ///   - body: must not suspend. The span cannot leave it.
  /// - Throws: ``MappingError``: `invalidRange`, `truncated`, `inputOutput`; `invalidLayout` where the elements are in the other
  ///   byte order or lie at no multiple of their alignment; what `body` throws.
  /// - Complexity: O(1) beside the body.
  @inlinable
  public borrowing func withSpan<R>(_ bounds: Range<Int>? = nil, _ body: (Span<Element>) throws -> R) throws -> R {
    let range = try byteRange(bounds)
    if swappedSize != 0 || dataOffset & (MemoryLayout<Element>.alignment &- 1) != 0 { throw spanError() }
    // Right because of the line above, and because any bytes are a value of a fixed layout, which opening has proved.
    return try map.withBytes(range) { try body(unsafe $0._unsafeView(as: Element.self)) }
  }

  @usableFromInline
  internal borrowing func byteRange(_ bounds: Range<Int>?) throws(MappingError) -> Range<Int> {
    let lower = bounds?.lowerBound ?? 0
    let upper = bounds?.upperBound ?? count
    guard lower >= 0, upper <= count else { throw rangeError(lower, upper) }
    return dataOffset + lower * MemoryLayout<Element>.size..<dataOffset + upper * MemoryLayout<Element>.size
  }

  @usableFromInline @inline(never)
  internal borrowing func rangeError(_ lower: Int, _ upper: Int) -> MappingError {
    MappingError(
      .invalidRange, operation: .load, path: path, detail: .note("elements \(lower)..<\(upper) of an array of \(count)")
    )
  }

  @usableFromInline @inline(never)
  internal borrowing func spanError() -> MappingError {
    MappingError(
      .invalidLayout, operation: .read, path: path, offset: Int64(dataOffset),
      detail: .note(
        isSwapped
          ? "its elements are \(header.elementType), in the other byte order; elements(_:) gives a copy in this machine's"
          : "its elements begin at byte \(dataOffset), which is no multiple of their alignment; elements(_:) gives a copy"
      ))
  }

  @usableFromInline
  internal static func turn(_ element: inout Element, _ size: Int) {
    unsafe withUnsafeMutableBytes(of: &element) { unsafe turnBytes($0, size) }
  }
}

/// Turns each group of `size` bytes around.
private func turnBytes(_ bytes: UnsafeMutableRawBufferPointer, _ size: Int) {
  func turn<T: FixedWidthInteger & BitwiseCopyable>(_ type: T.Type) {
    for at in stride(from: 0, to: bytes.count, by: size) {
      // Right because the bytes are a whole number of groups.
      let word = unsafe bytes.loadUnaligned(fromByteOffset: at, as: type)
      unsafe bytes.storeBytes(of: word.byteSwapped, toByteOffset: at, as: type)
    }
  }
  switch size {
  case 2: turn(UInt16.self)
  case 4: turn(UInt32.self)
  default: turn(UInt64.self)
  }
}

extension NumPyHeader {
  /// Reads the header of the file at `path`, for instance to find out which type its elements have.
  ///
  /// - Parameter path: of a `.npy` file.
  /// - Throws: ``MappingError``: `invalidLayout` with a note; those of ``MappedFile/init(_:offset:length:options:)``. Does not look
  ///   whether the elements are there.
  public init(readingFrom path: FilePath) throws(MappingError) {
    let map = try MappedFile(path)
    do throws(MappingError) { try self.init(startOf: map) } catch { throw error.at(path) }
  }

  /// Copies what is looked at out of the mapping first, so that it is what the file held at one time and not made up.
  internal init(startOf map: borrowing MappedFile) throws(MappingError) {
    let first = try Self.bytes(of: map, min(map.count, 12))
    // Right because bytes of an array of UInt8 are all initialized.
    let size = try unsafe Self.size(statedIn: first.span.bytes)
    try self.init(parsing: Self.bytes(of: map, min(map.count, size)))
  }

  private static func bytes(of map: borrowing MappedFile, _ count: Int) throws(MappingError) -> [UInt8] {
    var bytes = [UInt8](repeating: 0, count: count)
    var failure: MappingError? = nil
    unsafe bytes.withUnsafeMutableBytes { buffer in
      do throws(MappingError) { try unsafe map.copy(0..<count, into: buffer) } catch { failure = error }
    }
    if let failure { throw failure }
    return bytes
  }
}

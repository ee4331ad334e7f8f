// SPDX-License-Identifier: Apache-2.0

extension MappedFile {
  /// Reads one value: never killed, never an invented byte.
  ///
  /// - Parameters:
  ///   - offset: in bytes from the start of the view; need not be aligned; any value is allowed.
  ///   - type: read in this machine's byte order.
  ///   - check: see `copy(_:into:check:)`. With the default, a value with a zero byte costs
  ///     two system calls; give `.pages` where a cut inside a page need not be told from zeros.
  /// - Throws: ``MappingError`` as `copy(_:into:check:)`.
  /// - Complexity: O(1); some nanoseconds. For many values of one region, load from the span of a
  ///   guarded scope.
  @inlinable
  public borrowing func load<T: FixedLayout>(
    at offset: Int, as type: T.Type = T.self, check: FaultCheck = .size
  ) throws(MappingError) -> T {
    let size = MemoryLayout<T>.size
    // The subtraction cannot overflow: both are sizes of things in memory.
    guard offset >= 0, offset <= count &- size else {
      throw loadRangeError(offset, size)
    }
    if !T._isPrimitiveLayout { VerifiedLayouts.require(type) }
    if let value = unsafe checkedLoad(UnsafeRawPointer(viewStart + offset), as: type, check, range.flag) {
      return value
    }
    return try loadSlowly(offset, as: type, check)
  }

  /// The cases that need a system call, see ``copySlowly``.
  @inlinable @inline(never)
  internal borrowing func loadSlowly<T: FixedLayout>(
    _ offset: Int, as type: T.Type, _ check: FaultCheck
  ) throws(MappingError) -> T {
    let size = MemoryLayout<T>.size
    // Typed throws do not pass through the closure, so the error is carried out by hand.
    var failure: MappingError? = nil
    let value: T = unsafe withUnsafeTemporaryAllocation(
      byteCount: size, alignment: MemoryLayout<T>.alignment
    ) { buffer in
      let target = unsafe buffer.baseAddress.unsafelyUnwrapped
      do throws(MappingError) {
        try unsafe copySlowly(offset, size, target, check, .load)
      } catch {
        failure = error
        unsafe target.initializeMemory(as: UInt8.self, repeating: 0, count: size)
      }
      // Right because the copy, or the zeros, filled all of it, and any bytes are a value of a fixed layout.
      return unsafe target.load(as: T.self)
    }
    if let failure { throw failure }
    return value
  }

  /// Reads an integer that is stored with its lowest byte first.
  ///
  /// - Throws: as ``load(at:as:check:)``.
  @inlinable
  public borrowing func loadLittleEndian<T: FixedLayout & FixedWidthInteger>(
    at offset: Int, as type: T.Type = T.self, check: FaultCheck = .size
  ) throws(MappingError) -> T {
    T(littleEndian: try load(at: offset, as: type, check: check))
  }

  /// Reads an integer that is stored with its highest byte first (network order).
  ///
  /// - Throws: as ``load(at:as:check:)``.
  @inlinable
  public borrowing func loadBigEndian<T: FixedLayout & FixedWidthInteger>(
    at offset: Int, as type: T.Type = T.self, check: FaultCheck = .size
  ) throws(MappingError) -> T {
    T(bigEndian: try load(at: offset, as: type, check: check))
  }

  /// `offset + size` may overflow, so no range is made of them.
  @inline(never) @usableFromInline
  internal borrowing func loadRangeError(_ offset: Int, _ size: Int) -> MappingError {
    MappingError(
      .invalidRange, operation: .load, path: path,
      offset: fileOffset.addingReportingOverflow(Int64(offset)).partialValue, length: Int64(size),
      detail: .note("the view has \(count) bytes"))
  }
}

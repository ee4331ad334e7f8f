// SPDX-License-Identifier: Apache-2.0

internal import CPlatform
internal import Synchronization
internal import SystemPackage

extension FileBytes {
  /// Copies bytes from anywhere in the file. Safe from several threads at once.
  ///
  /// - Parameters:
  ///   - offset: first byte, from the start of the file.
  ///   - destination: is filled up to the end of the file.
  /// - Returns: the bytes copied: `destination.count`, or fewer where the file ended when it was opened; 0 at or after its end.
  /// - Throws: ``MappingError``: `truncated` when the file became shorter since, `inputOutput`, `invalidRange` for a negative
  ///   offset. For a pipe: `limitExceeded`, and `notSupported` once it was read in pieces.
  /// - Complexity: a few nanoseconds when mapped or buffered, one system call else. No allocation. C counterpart: `pread`.
  public borrowing func copy(
    at offset: Int64, into destination: UnsafeMutableRawBufferPointer
  ) throws(MappingError) -> Int {
    guard offset >= 0 else { throw rangeError(offset, Int64(destination.count)) }
    guard let target = destination.baseAddress, destination.count > 0 else { return 0 }
    if let stream = stream { return unsafe try stream.copy(at: offset, into: destination) }
    guard offset < size else { return 0 }
    let length = Int(min(Int64(destination.count), size - offset))
    unsafe try fetch(offset, length, target)
    return length
  }

  /// The same into a mutable span.
  public borrowing func copy(
    at offset: Int64, into destination: inout MutableRawSpan
  ) throws(MappingError) -> Int {
    // Typed throws do not pass through the span's closure, so the error is carried out by hand.
    var result: Result<Int, MappingError> = .success(0)
    unsafe destination.withUnsafeMutableBytes { bytes in
      do throws(MappingError) { result = .success(unsafe try copy(at: offset, into: bytes)) } catch {
        result = .failure(error)
      }
    }
    return try result.get()
  }

  /// One value from anywhere in the file, in this machine's byte order. Safe from several threads at once.
  ///
  /// - Parameters:
  ///   - offset: of its first byte; need not be aligned; any value is allowed.
  ///   - type: the value's type.
  /// - Throws: ``MappingError``: `invalidRange` when it does not lie in the file, else as `copy(at:into:)`.
  /// - Complexity: as `copy(at:into:)`. C counterpart: `pread` into a local.
  @inlinable
  public borrowing func load<T: FixedLayout>(
    at offset: Int64, as type: T.Type = T.self
  ) throws(MappingError) -> T {
    if !T._isPrimitiveLayout { VerifiedLayouts.require(type) }
    if offset >= 0, offset <= size &- Int64(MemoryLayout<T>.size) {
      if let whole = unsafe whole { return unsafe whole.loadUnaligned(fromByteOffset: Int(offset), as: type) }
      if let value = late.load(Int(offset), as: type, options.check) { return value }
    }
    return try loadSlowly(at: offset, as: type)
  }

  /// By a read, or with a question to the kernel, or out of bounds.
  ///
  /// Inlinable, because a generic closure that is not specialized costs as much as the read.
  @inlinable @inline(never)
  internal borrowing func loadSlowly<T: FixedLayout>(
    at offset: Int64, as type: T.Type
  ) throws(MappingError) -> T {
    var failure: MappingError? = nil
    let size = MemoryLayout<T>.size
    let value: T = unsafe withUnsafeTemporaryAllocation(
      byteCount: size, alignment: MemoryLayout<T>.alignment
    ) { buffer in
      do throws(MappingError) { unsafe try copyExactly(at: offset, into: buffer) } catch {
        failure = error
        unsafe buffer.initializeMemory(as: UInt8.self, repeating: 0)
      }
      // All of it is filled by the copy or by zeros, and any bytes are a value of a fixed layout.
      return unsafe buffer.baseAddress.unsafelyUnwrapped.load(as: T.self)
    }
    if let failure { throw failure }
    return value
  }

  /// All of `destination` or an error.
  @usableFromInline
  internal borrowing func copyExactly(
    at offset: Int64, into destination: UnsafeMutableRawBufferPointer
  ) throws(MappingError) {
    let got = unsafe try copy(at: offset, into: destination)
    if got < destination.count { throw rangeError(offset, Int64(destination.count)) }
  }

  /// `length` > 0 bytes that lie in the file as it was when it was opened.
  @inline(__always)
  private borrowing func fetch(
    _ offset: Int64, _ length: Int, _ target: UnsafeMutableRawPointer
  ) throws(MappingError) {
    if isBuffered {
      // The string instructions of the checked copy beat memmove from a page's half on.
      if length < 2048 {
        unsafe target.copyMemory(from: buffer.base! + Int(offset), byteCount: length)
      } else {
        _ = unsafe pgw_copy_checked(target, buffer.base! + Int(offset), length)
      }
      return
    }
    if unsafe late.copy(Int(offset), length, target, options.check) { return }
    unsafe try fetchSlowly(offset, length, target)
  }

  /// Not at hand: a mapping that needs a question to the kernel, or no mapping.
  @inline(never)
  private borrowing func fetchSlowly(
    _ offset: Int64, _ length: Int, _ target: UnsafeMutableRawPointer
  ) throws(MappingError) {
    let check = options.check
    let isDone: Void? = try late.withMapping { map throws(MappingError) in
      unsafe try map.copyChecked(Int(offset), length, target, check, .copy)
    }
    if isDone == nil { unsafe try readOne(offset, length, target) }
  }

  /// One read at an offset. Counts, and turns to mapping when that has become the cheaper way.
  @inline(never)
  private borrowing func readOne(
    _ offset: Int64, _ length: Int, _ target: UnsafeMutableRawPointer
  ) throws(MappingError) {
    let reads = late.reads.load(ordering: .relaxed) &+ 1
    late.reads.store(reads, ordering: .relaxed)
    if reads > late.reviewAt.load(ordering: .relaxed) { review(after: reads) }
    var done = 0
    let probes = late.probesLeft.load(ordering: .relaxed)
    if probes > 0, options.strategy == nil, access.scattered != nil {
      // The same call, told not to wait: what it cannot deliver at once is not in memory.
      late.probesLeft.store(probes &- 1, ordering: .relaxed)
      let got = unsafe pgw_read_cached(descriptor, target, length, offset)
      if got > 0 {
        done = got
      } else if got < 0, Errno.current == .resourceTemporarilyUnavailable {
        late.probesLeft.store(0, ordering: .relaxed)
        reconsiderCold(after: reads)
        let check = options.check
        let isDone: Void? = try late.withMapping { map throws(MappingError) in
          unsafe try map.copyChecked(Int(offset), length, target, check, .copy)
        }
        if isDone != nil { return }
      } else if got < 0 {
        // Not every file system can be asked this way.
        late.probesLeft.store(0, ordering: .relaxed)
      }
    }
    if done < length { unsafe try readFully(offset + Int64(done), length - done, target + done) }
  }

  /// Reads all of a range; an early end is `truncated`.
  internal borrowing func readFully(
    _ offset: Int64, _ length: Int, _ target: UnsafeMutableRawPointer
  ) throws(MappingError) {
    var done = 0
    while done < length {
      let got = unsafe pgw_pread(descriptor, target + done, length - done, offset + Int64(done))
      if got < 0 { throw .last(.read, path: path, offset: offset + Int64(done), length: Int64(length - done)) }
      if got == 0 { throw truncatedError(at: offset + Int64(done), wanted: Int64(length - done)) }
      done += got
    }
  }

  /// Reads the whole file into the buffer, once.
  internal mutating func fillBuffer() throws(MappingError) {
    guard !isBuffered else { return }
    guard let length = Int(exactly: size) else {
      throw MappingError(.memoryExhausted, operation: .read, path: path, length: size)
    }
    try buffer.reserve(length, path: path)
    if let base = unsafe buffer.base { unsafe try readFully(0, length, base) }
    unsafe whole = UnsafeRawPointer(buffer.base)
  }

  @inline(never)
  internal borrowing func truncatedError(at offset: Int64, wanted: Int64) -> MappingError {
    var now = pgw_stat()
    let isKnown = unsafe pgw_fstat(descriptor, &now) == 0
    return MappingError(
      .truncated, operation: .read, path: path, offset: offset, length: wanted,
      detail: .fileSize(isKnown ? now.size : offset))
  }

  @inline(never)
  internal borrowing func rangeError(_ offset: Int64, _ length: Int64) -> MappingError {
    MappingError(
      .invalidRange, operation: .read, path: path, offset: offset, length: length,
      detail: count.map { .fileSize($0) })
  }
}

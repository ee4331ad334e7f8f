// SPDX-License-Identifier: Apache-2.0

public import CPlatform
internal import SystemPackage

extension MappedFile {
  /// Copies bytes out of the mapping: never killed, never an invented byte.
  ///
  /// A page that cannot be had stops the copy instead of raising a signal. After a loss in this mapping the bytes are read
  /// by `pread`, so what is still in the file is delivered exactly, and what is not throws.
  ///
  /// With the default check the copy is exact also for a cut inside a page, which leaves zeros without a fault: a short copy
  /// without any zero byte needs no further proof; else the file is asked for its size. A file that is cut and written anew
  /// during the copy needs `.stamp`.
  ///
  /// - Parameters:
  ///   - bounds: bytes of the view.
  ///   - destination: at least as large; its content is undefined after an error.
  ///   - check: `.pages` skips the size check, `.stamp` adds the times.
  /// - Throws: ``MappingError``: `truncated`, `inputOutput`, `invalidRange`... Without a descriptor to ask
  ///   (``Options/keepsDescriptor``), `notSupported` for bytes with a zero, which only `.pages` lets through unproved.
  /// - Complexity: O(n); a few nanoseconds above `memcpy`.
  @inlinable
  public borrowing func copy(
    _ bounds: Range<Int>, into destination: UnsafeMutableRawBufferPointer, check: FaultCheck = .size
  ) throws(MappingError) {
    guard bounds.lowerBound >= 0, bounds.upperBound <= count, destination.count >= bounds.count else {
      throw rangeError(bounds.lowerBound, bounds.upperBound, .copy)
    }
    guard let target = destination.baseAddress, !bounds.isEmpty else { return }
    try unsafe copyChecked(bounds.lowerBound, bounds.count, target, check, .copy)
  }

  /// The same into a mutable span.
  @inlinable
  public borrowing func copy(
    _ bounds: Range<Int>, into destination: inout MutableRawSpan, check: FaultCheck = .size
  ) throws(MappingError) {
    // Typed throws do not pass through the span's closure, so the error is carried out by hand.
    var failure: MappingError? = nil
    unsafe destination.withUnsafeMutableBytes { bytes in
      do throws(MappingError) { try unsafe copy(bounds, into: bytes, check: check) } catch { failure = error }
    }
    if let failure { throw failure }
  }

  /// Bytes up to which looking for a zero is cheaper than asking the file for its size.
  @inlinable internal static var scanLimit: Int { 4096 }

  /// `size` > 0 bytes at `offset`, which lies in the view.
  @inlinable @inline(__always)
  internal borrowing func copyChecked(
    _ offset: Int, _ size: Int, _ target: UnsafeMutableRawPointer, _ check: FaultCheck,
    _ operation: MappingError.Operation
  ) throws(MappingError) {
    if check == .pages {
      let missing = unsafe pgw_copy_checked(target, viewStart + offset, size)
      if missing == 0, !range.flag.isRaised { return }
    } else if check == .size, size <= Self.scanLimit {
      // Every byte counts, not only the last: the kernel zeroes a cut page from the front, and a copy can overtake it.
      let copied = unsafe pgw_copy_proving(target, viewStart + offset, size)
      if copied.missing == 0, copied.has_zero == 0, !range.flag.isRaised { return }
    }
    try unsafe copySlowly(offset, size, target, check, operation)
  }

  /// The cases that need a system call: a byte is zero, a stamp is asked for, or a page was lost.
  @inline(never) @usableFromInline
  internal borrowing func copySlowly(
    _ offset: Int, _ size: Int, _ target: UnsafeMutableRawPointer, _ check: FaultCheck,
    _ operation: MappingError.Operation
  ) throws(MappingError) {
    let before = try stampBefore(check)
    let isWhole: Bool =
      if range.flag.isRaised { false } else {
        unsafe pgw_copy_checked(target, viewStart + offset, size) == 0 && !range.flag.isRaised
      }
    if isWhole {
      return try prove(check, since: before, upTo: offset + size, operation)
    }
    try unsafe readThrough(offset, size, target, operation)
    // A read that overlaps a cut can meet its zeros, too.
    try compareWithFile(check, since: before, upTo: offset + size, operation)
  }

  /// The file's own bytes by pread: the same page cache, with errors instead of signals.
  private borrowing func readThrough(
    _ offset: Int, _ size: Int, _ target: UnsafeMutableRawPointer, _ operation: MappingError.Operation
  ) throws(MappingError) {
    let start = fileOffset + Int64(offset)
    guard range.descriptor >= 0 else {
      var error = MappingError(
        .faulted, operation: operation, path: path, offset: start, length: Int64(size),
        detail: .note("the mapping keeps no descriptor to ask"))
      if let fault { error.code = fault.code }
      throw error
    }
    var done = 0
    while done < size {
      let got = unsafe pgw_pread(range.descriptor, target + done, size - done, start + Int64(done))
      if got < 0 { throw .last(operation, path: path, offset: start + Int64(done), length: Int64(size - done)) }
      if got == 0 {
        var now = pgw_stat()
        let size64 = unsafe pgw_fstat(range.descriptor, &now) == 0 ? now.size : start + Int64(done)
        throw MappingError(
          .truncated, operation: operation, path: path, offset: start + Int64(done), length: Int64(size - done),
          detail: .fileSize(size64))
      }
      done += got
    }
  }
}

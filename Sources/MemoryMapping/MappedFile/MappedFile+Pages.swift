// SPDX-License-Identifier: Apache-2.0

internal import CPlatform
internal import SystemPackage

extension MappedFile {
  /// The whole pages that hold `bounds`.
  internal borrowing func pages(
    of bounds: Range<Int>?, _ operation: MappingError.Operation
  ) throws(MappingError) -> (start: Int, length: Int) {
    let lower = bounds?.lowerBound ?? 0
    let upper = bounds?.upperBound ?? count
    guard lower >= 0, upper <= count else { throw rangeError(lower, upper, operation) }
    guard upper > lower else { return (0, 0) }
    let math = PageMath()
    let start = math.down(slack + lower)
    return (start, min(range.length, math.up(slack + upper) ?? range.length) - start)
  }

  /// Tells the kernel how `bounds` will be used. The range is widened to whole pages inside.
  ///
  /// - Throws: `notSupported` where this system has no such advice; `invalidRange`.
  /// - Complexity: one system call. C: `madvise`.
  public borrowing func advise(_ advice: Advice, _ bounds: Range<Int>? = nil) throws(MappingError) {
    let pages = try pages(of: bounds, .advise)
    guard pages.length > 0 else { return }
    guard unsafe pgw_madvise(range.base + pages.start, pages.length, advice.value) == 0 else {
      var error = MappingError.last(
        .advise, path: path, offset: fileOffset + Int64(bounds?.lowerBound ?? 0), length: Int64(pages.length))
      error.detail = .note(advice.description)
      throw error
    }
  }

  /// Throws away pages of this mapping. On a read-only shared file mapping `.dontNeed` only costs time; `.remove` destroys
  /// file content.
  @unsafe public borrowing func discard(
    _ advice: DestructiveAdvice, _ bounds: Range<Int>? = nil
  ) throws(MappingError) {
    let pages = try pages(of: bounds, .advise)
    guard pages.length > 0 else { return }
    guard unsafe pgw_madvise(range.base + pages.start, pages.length, advice.value) == 0 else {
      throw .last(.advise, path: path, offset: fileOffset, length: Int64(pages.length))
    }
  }

  /// Changes what the processor lets this process do with the whole pages of `bounds`.
  ///
  /// `@unsafe`: the views know nothing of it, and a touch of a page without access raises SIGSEGV, which the guard does not
  /// answer. For catching stray pointers. C: `mprotect`.
  @unsafe public borrowing func protect(
    _ access: ReadAccess, _ bounds: Range<Int>? = nil
  ) throws(MappingError) {
    let pages = try pages(of: bounds, .protect)
    guard pages.length > 0 else { return }
    guard unsafe pgw_protect(range.base + pages.start, pages.length, access == .none ? 0 : 1) == 0 else {
      throw .last(.protect, path: path, offset: fileOffset, length: Int64(pages.length))
    }
  }

  /// What can be done with a page of a mapping for reading.
  public enum ReadAccess: Sendable, Hashable { case none, readOnly }

  /// Loads the pages of `bounds` and maps them, so that touching them does not fault.
  ///
  /// Reports what cannot be loaded, unlike ``Options/populate``. Waits for the device; call it off the path that must answer.
  ///
  /// - Throws: `truncated`, `inputOutput`, `memoryFailure`. `notSupported` before Linux 5.14 and on Darwin.
  /// - Complexity: one system call. C: `madvise(MADV_POPULATE_READ)`.
  public borrowing func prefault(_ bounds: Range<Int>? = nil) throws(MappingError) {
    let pages = try pages(of: bounds, .prefault)
    guard pages.length > 0 else { return }
    // The replaced pages could be loaded, and would prove nothing.
    if range.flag.isRaised { throw faultError(.prefault) }
    if unsafe pgw_madvise(range.base + pages.start, pages.length, CInt(PGW_MADV_POPULATE_READ)) == 0 { return }
    let error = MappingError.last(.prefault, path: path, offset: fileOffset, length: Int64(pages.length))
    guard error.code == .faulted else { throw error }
    throw diagnose(bounds ?? 0..<count, error)
  }

  /// Keeps the pages of `bounds` in memory. C: `mlock`, `mlock2`.
  ///
  /// - Throws: `lockLimitReached` with the remedy.
  public borrowing func lock(_ bounds: Range<Int>? = nil, onFault: Bool = false) throws(MappingError) {
    let pages = try pages(of: bounds, .lock)
    guard pages.length > 0 else { return }
    guard unsafe pgw_lock(range.base + pages.start, pages.length, onFault) == 0 else {
      throw .last(.lock, path: path, offset: fileOffset, length: Int64(pages.length))
    }
  }

  /// Ends ``lock(_:onFault:)``. C: `munlock`.
  public borrowing func unlock(_ bounds: Range<Int>? = nil) throws(MappingError) {
    let pages = try pages(of: bounds, .unlock)
    guard pages.length > 0 else { return }
    guard unsafe pgw_unlock(range.base + pages.start, pages.length) == 0 else {
      throw .last(.unlock, path: path, offset: fileOffset, length: Int64(pages.length))
    }
  }

  /// How much of `bounds` is in the page cache, whoever put it there.
  ///
  /// cachestat where the kernel has it (Linux 6.5), which refuses users who may not know; else mincore for files this user
  /// may write, which tells the truth only there.
  ///
  /// - Complexity: cachestat walks the folios: microseconds for large ones, about 30 ns a page for small ones.
  public borrowing func residency(_ bounds: Range<Int>? = nil) throws(MappingError) -> Residency {
    let pages = try pages(of: bounds, .residency)
    let total = pages.length / SystemPage.size
    guard total > 0 else { return Residency(pages: 0, resident: 0, dirty: 0) }
    if range.descriptor >= 0 {
      var state = pgw_cache_state()
      let start = UInt64(fileOffset - Int64(slack) + Int64(pages.start))
      if unsafe pgw_cachestat(range.descriptor, start, UInt64(pages.length), &state) == 0 {
        return Residency(pages: total, resident: min(Int(state.cached), total), dirty: Int(state.dirty))
      }
      if Errno.current == .notPermitted { return Residency(pages: total, resident: nil, dirty: nil) }
    }
    guard range.descriptor < 0 || FileIdentity.mayWrite(range.descriptor) else {
      return Residency(pages: total, resident: nil, dirty: nil)
    }
    var vector = [UInt8](repeating: 0, count: total)
    guard unsafe pgw_mincore(range.base + pages.start, pages.length, &vector) == 0 else {
      throw .last(.residency, path: path, offset: fileOffset, length: Int64(pages.length))
    }
    return Residency(pages: total, resident: vector.count { $0 & 1 != 0 }, dirty: nil)
  }

  /// Asks whether every page of `bounds` can be had now, without a signal and without reading the bytes.
  ///
  /// True only at this instant, and it loads the pages on the way. C: `MADV_POPULATE_READ`; one `pread` per page where the
  /// kernel lacks it or might loop on a failed device (before 6.9).
  ///
  /// - Throws: ``MappingError`` with the offset of the first page that cannot be had.
  public borrowing func probe(_ bounds: Range<Int>? = nil) throws(MappingError) {
    if range.flag.isRaised { throw faultError(.probe) }
    try probePages(bounds)
  }

  /// Whatever the mapping has met.
  private borrowing func probePages(_ bounds: Range<Int>?) throws(MappingError) {
    let pages = try pages(of: bounds, .probe)
    guard pages.length > 0 else { return }
    let asked = bounds ?? 0..<count
    if pgw_kernel_version() >= 6 << 16 | 9 {
      if unsafe pgw_madvise(range.base + pages.start, pages.length, CInt(PGW_MADV_POPULATE_READ)) == 0 {
        // A cut inside the last page leaves it readable: the size tells.
        if range.descriptor >= 0 { try compareWithFile(.size, since: nil, upTo: asked.upperBound, .probe) }
        return
      }
      let error = MappingError.last(.probe, path: path, offset: fileOffset, length: Int64(asked.count))
      if error.code != .notSupported { throw diagnose(asked, error) }
    }
    try readEachPage(asked)
  }

  /// Finds the first byte that cannot be read, by pread; keeps `error` when all can.
  private borrowing func diagnose(_ bounds: Range<Int>, _ error: MappingError) -> MappingError {
    guard range.descriptor >= 0 else { return error }
    do throws(MappingError) {
      try readEachPage(bounds)
      return error
    } catch {
      return error
    }
  }

  private borrowing func readEachPage(_ bounds: Range<Int>) throws(MappingError) {
    guard range.descriptor >= 0 else {
      throw MappingError(
        .notSupported, operation: .probe, path: path, detail: .note("the mapping keeps no descriptor to ask"))
    }
    var byte: UInt8 = 0
    var at = bounds.lowerBound
    while at < bounds.upperBound {
      let next = min(PageMath().down(slack + at) + SystemPage.size - slack, bounds.upperBound)
      // The last byte of each page: it also sees a cut inside the page.
      let offset = fileOffset + Int64(next - 1)
      let got = unsafe pgw_pread(range.descriptor, &byte, 1, offset)
      if got < 0 { throw .last(.probe, path: path, offset: fileOffset + Int64(at), length: Int64(next - at)) }
      if got == 0 {
        var now = pgw_stat()
        let size = unsafe pgw_fstat(range.descriptor, &now) == 0 ? now.size : offset
        throw MappingError(
          .truncated, operation: .probe, path: path, offset: size,
          length: fileOffset + Int64(bounds.upperBound) - size, detail: .fileSize(size))
      }
      at = next
    }
  }

  /// Maps the file again over what was lost and clears the fault.
  ///
  /// `mutating`: no view can be alive.
  ///
  /// - Throws: ``MappingError`` when the file is still too short or its pages cannot be had: the mapping then stays faulted
  ///   and can be tried again. `notSupported` without a descriptor.
  /// - Complexity: one mmap over the whole range, then a probe of what had been lost.
  public mutating func recover() throws(MappingError) {
    guard range.flag.isRaised, let slot = unsafe range.slot else { return }
    guard range.descriptor >= 0 else {
      throw MappingError(
        .notSupported, operation: .recover, path: path, detail: .note("the mapping keeps no descriptor to map again"))
    }
    let lost = fault?.lostRange ?? 0..<count
    try compareWithFile(.size, since: nil, upTo: count, .recover)
    let flags = options.sharing == .shared ? PGW_MAP_SHARED : PGW_MAP_PRIVATE
    let offset = fileOffset - Int64(slack)
    guard
      unsafe pgw_map(
        range.base, range.length, range.protection, CInt(flags | PGW_MAP_FIXED), range.descriptor, offset) != nil
    else { throw .last(.recover, path: path, offset: offset, length: Int64(range.length)) }
    do throws(MappingError) {
      // The new mapping begins without the lock, the fork and dump policy and the name of the old one.
      try range.apply(options, path: path, offset: offset)
      try probePages(lost)
    } catch {
      var error = error
      error.operation = .recover
      throw error
    }
    unsafe pgw_guard_clear(slot)
  }
}

extension FileIdentity {
  /// True when this user could open the file for writing, which is when mincore tells the truth.
  fileprivate static func mayWrite(_ descriptor: CInt) -> Bool { pgw_may_write(descriptor) }
}

// SPDX-License-Identifier: Apache-2.0

internal import CPlatform
internal import SystemPackage

extension MutableMappedFile {
  /// Makes the view, and with it the file, longer or shorter.
  ///
  /// `mutating`: no view can be alive, and the address may change. The view must reach to the end of the file.
  ///
  /// Growing is safe for everybody. The new bytes are zeros without blocks behind them: ``reserve(_:)`` what must not fail.
  ///
  /// **Shrinking** takes pages away under every other mapping of the file, in every process: theirs are killed unless they are
  /// guarded. So it is done only when the kernel proves that nobody else has the file open or mapped, and refused as `busy`
  /// otherwise; where the kernel cannot prove it, it is refused too. A forked child that has inherited this very mapping is not
  /// seen: it loses the pages, and its guard answers. ``punchHole(_:)`` frees the space of a shared file, and
  /// `replaceFile` gives readers a shorter one without touching the old. `evenIfShared` is for files that only your own,
  /// guarded programs map.
  ///
  /// - Parameters:
  ///   - newCount: bytes of the view afterwards.
  ///   - evenIfShared: shrink although others may have the file mapped.
  /// - Throws: ``MappingError``: `invalidRange`; `busy`, also while a program holds the lock of the file for more than a second;
  ///   `noSpace`, `limitExceeded`, `addressSpaceExhausted`. The view is as before then, and so is the file, unless it had grown
  ///   already and it could not be shown that nobody else has mapped it since.
  public mutating func resize(to newCount: Int, evenIfShared: Bool = false) throws(MappingError) {
    try requireWritable(.resize)
    guard newCount >= 0, let newEnd = Int64(exactly: newCount).map({ $0.addingReportingOverflow(fileOffset) }),
      !newEnd.overflow
    else {
      throw MappingError(.invalidRange, operation: .resize, path: path, length: Int64(newCount))
    }
    // Two who grow the file at once would set the smaller size last.
    let isLocked = isLockedByOwner ? false : try OpenedFile.awaitLock(of: map.range.descriptor, .resize, path: path)
    defer { if isLocked { _ = pgw_storage_unlock(map.range.descriptor) } }
    var now = pgw_stat()
    guard unsafe pgw_storage_fstat(map.range.descriptor, &now) == 0 else { throw .last(.resize, path: path) }
    let end = fileOffset + Int64(count)
    guard now.size == end else {
      throw MappingError(
        now.size < end ? .truncated : .invalidRange, operation: .resize, path: path, offset: min(end, now.size),
        detail: .fileSize(now.size))
    }
    if newEnd.partialValue == end { return }
    if newEnd.partialValue < end, !evenIfShared { try requireAlone() }
    try setSize(newEnd.partialValue, from: end, newCount)
  }

  private borrowing func requireAlone() throws(MappingError) {
    let isAlone = pgw_storage_is_alone(map.range.descriptor)
    guard isAlone != 1 else { return }
    throw MappingError(
      .busy, operation: .resize, path: path,
      detail: .note(
        isAlone == 0
          ? "others have it open or mapped, and would lose pages; punch a hole or replace the file"
          : "it cannot be shown that nobody else has it mapped; punch a hole or replace the file"))
  }

  /// Changes the file, and puts a view of its new size in the place of the old one.
  private mutating func setSize(_ newSize: Int64, from oldSize: Int64, _ newCount: Int) throws(MappingError) {
    let isGrowing = newSize > oldSize
    if isGrowing { try truncate(to: newSize) }
    let replacement: MappedFile
    do throws(MappingError) {
      let file = try OpenedFile(duplicating: map.range.descriptor, path: path)
      replacement = try MappedFile(
        file, offset: fileOffset, length: newCount, options: map.options, path: path, protection: 3)
    } catch {
      // Give back what was added, unless somebody may have mapped it by now.
      if isGrowing, pgw_storage_is_alone(map.range.descriptor) == 1 {
        _ = pgw_storage_truncate(map.range.descriptor, oldSize)
      }
      var error = error
      error.operation = .resize
      throw error
    }
    // The old view stays until the file has its size, so that a failure leaves it whole. Nothing touches it meanwhile.
    if !isGrowing { try truncate(to: newSize) }
    map = replacement
  }

  private borrowing func truncate(to size: Int64) throws(MappingError) {
    guard pgw_storage_truncate(map.range.descriptor, size) == 0 else {
      throw .last(.resize, path: path, offset: size)
    }
  }

  /// The parts of the view whose pages were lost, in bytes of the view, ascending. Stores to them since the loss are not in the
  /// file; everything else is.
  ///
  /// Exact on Linux (asks which parts are not the file's mapping any more); elsewhere one range from the first to the last loss.
  /// Empty while the mapping is healthy.
  public borrowing func lostRanges() -> [Range<Int>] {
    guard let fault else { return [] }
    let capacity = 4096
    let runs = unsafe [pgw_page_run](unsafeUninitializedCapacity: capacity) { buffer, used in
      let found = unsafe pgw_replaced_pages(
        map.range.base, map.range.length, map.identity.inode, buffer.baseAddress!, CInt(capacity))
      used = max(0, Int(found))
    }
    let ranges = runs.compactMap { run -> Range<Int>? in
      let lower = max(0, Int(run.start) - map.slack)
      let upper = min(count, Int(run.end) - map.slack)
      return lower < upper ? lower..<upper : nil
    }
    return ranges.isEmpty || runs.count == capacity ? [fault.lostRange] : ranges
  }

  /// Maps the file again over what was lost and clears the fault. What had been stored to the lost pages is gone: the program that
  /// caught the error must store it again.
  ///
  /// A failed sync is not cleared: see ``flush(_:_:)``.
  ///
  /// - Throws: ``MappingError`` when the file is still too short or its pages cannot be had; the mapping then stays faulted and can
  ///   be tried again.
  public mutating func recover() throws(MappingError) { try map.recover() }
}

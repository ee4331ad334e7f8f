// SPDX-License-Identifier: Apache-2.0

internal import CPlatform
internal import Synchronization
internal import SystemPackage

/// How far a flush has to bring the stores before it returns.
///
/// | level | promise when it returns | Linux | Darwin |
/// |---|---|---|---|
/// | `queued` | the kernel has begun to write; a power cut may still lose any of it | `sync_file_range(WRITE)` | nothing |
/// | `data` | data and what is needed to read it (size, blocks) have been accepted by the device as durable | `msync(MS_SYNC)`, `fdatasync` | `fsync`: in the drive, not yet on its medium |
/// | `device` | the same, with times and mode, and the device's own cache emptied | `fsync` | `F_FULLFSYNC` |
/// | `barrier` | nothing stored later can reach the medium before what was stored earlier | `fdatasync`, which is more | `F_BARRIERFSYNC` |
///
/// On Linux `data` also empties the device's cache, where file system and device do not hide that they have one. No level makes
/// a set of pages atomic. `MS_ASYNC` is not used: on Linux it does nothing. The name of a new file is durable since it was made.
///
/// Sources: msync(2), fdatasync(2), sync_file_range(2); fcntl(2) of Darwin.
public enum FlushLevel: Sendable, Hashable, CaseIterable {
  case queued, data, device, barrier
}

/// How far a reservation of space holds.
public enum Reservation: Sendable, Hashable {
  /// Stores into the range cannot run out of space: the file system overwrites blocks in place.
  case held
  /// The space is there now, but the file system writes every change to a new place (btrfs, ZFS, reflinked XFS, ...): once a page
  /// was written back, which a file system that runs full does at once, the next store to it needs new space and can fail. The
  /// guard turns that into an error.
  case untilWriteBack
  /// The file system is not known to overwrite in place.
  case unknown
}

extension MutableMappedFile {
  /// Brings stores of this and other processes to where `level` says.
  ///
  /// Refuses when a page of the mapping was lost (the kernel itself would report success), when the file has become shorter
  /// than the view, and after an earlier failure. **The first failed sync is final**: the kernel marks the pages clean and may
  /// report success the next time, so this object never tries again: every later `flush`, `startWriteback`, `reserve`, `resize`,
  /// `punchHole` and `withMutableBytes` throws `syncFailed`. What is on disk then is unknown; close, open again and compare.
  ///
  /// - Parameters:
  ///   - level: see ``FlushLevel``.
  ///   - bounds: a part of the view, widened to whole pages; nil for all of it. `device` and `barrier` always take the whole file.
  /// - Throws: ``MappingError``: `noSpace`, `inputOutput`, `truncated` with the first lost byte; `syncFailed`; `notSupported` for
  ///   a copy-on-write mapping.
  /// - Complexity: `queued` microseconds; the others wait for the device: 0.1 to 20 ms.
  public borrowing func flush(_ level: FlushLevel, _ bounds: Range<Int>? = nil) throws(MappingError) {
    let pages = try map.pages(of: bounds, .flush)
    try requireWritable(.flush)
    guard pages.length > 0 else { return }
    let upper = bounds?.upperBound ?? count
    let result: CInt
    switch level {
    case .queued:
      try startWriteback(bounds)
      return try provePages(upTo: upper)
    case .data:
      // The whole view by its descriptor: one call that also sees write-backs that failed before.
      result =
        bounds == nil
        ? pgw_storage_sync(map.range.descriptor, PGW_SYNC_DATA)
        : unsafe pgw_storage_sync_range(map.range.descriptor, map.range.base + pages.start, pages.length)
    case .device: result = pgw_storage_sync(map.range.descriptor, PGW_SYNC_DEVICE)
    case .barrier: result = pgw_storage_sync(map.range.descriptor, PGW_SYNC_BARRIER)
    }
    if result != 0 {
      let error = MappingError.last(
        .flush, path: path, offset: fileOffset + Int64(bounds?.lowerBound ?? 0), length: Int64(pages.length))
      poison(error)
      throw error
    }
    // A page may have been lost while we waited.
    try provePages(upTo: upper)
  }

  /// Tells the kernel to begin writing `bounds` back, and does not wait: spreads the work that a later ``flush(_:_:)`` would do at
  /// once. Promises nothing.
  ///
  /// - Parameter bounds: a part of the view, widened to whole pages; nil for all of it.
  /// - Throws: ``MappingError``; a failure is final as for ``flush(_:_:)``. Systems without such a call (Darwin) do nothing.
  public borrowing func startWriteback(_ bounds: Range<Int>? = nil) throws(MappingError) {
    let pages = try map.pages(of: bounds, .flush)
    try requireWritable(.flush)
    guard pages.length > 0 else { return }
    let offset = fileOffset - Int64(map.slack) + Int64(pages.start)
    guard pgw_storage_writeback(map.range.descriptor, offset, Int64(pages.length)) != 0 else { return }
    let error = MappingError.last(.flush, path: path, offset: offset, length: Int64(pages.length))
    // A file that has no such call (a memory file) has nothing to write back either.
    if error.code == .notSupported || error.errno == .illegalSeek { return }
    poison(error)
    throw error
  }

  /// Bytes of `bounds` that are in memory and not yet on disk, whoever stored them; nil where the kernel cannot tell or may not.
  ///
  /// Counted in whole folios: one byte stored into a large one counts, and will be written, as up to 2 MiB. Pages that are being
  /// written back count as dirty until they are done. C: `cachestat` (Linux 6.5).
  ///
  /// - Parameter bounds: a part of the view, widened to whole pages; nil for all of it.
  /// - Throws: `invalidRange`.
  /// - Complexity: O(folios); microseconds where they are large, half a millisecond for 64 MiB of small ones.
  public borrowing func dirtyBytes(_ bounds: Range<Int>? = nil) throws(MappingError) -> Int? {
    let pages = try map.pages(of: bounds, .residency)
    guard pages.length > 0 else { return 0 }
    var state = pgw_cache_state()
    let offset = UInt64(fileOffset - Int64(map.slack) + Int64(pages.start))
    guard unsafe pgw_cachestat(map.range.descriptor, offset, UInt64(pages.length), &state) == 0 else { return nil }
    return Int(state.dirty + state.writeback) * SystemPage.size
  }

  /// Gets the blocks for `bounds` now and makes its pages writable, so that a full disk is an error here and not a lost page later.
  ///
  /// - Parameter bounds: a part of the view; nil for all of it.
  /// - Returns: how far that holds on this file system.
  /// - Throws: ``MappingError``: `noSpace`; `notSupported` where the file system cannot allocate (it is never emulated by
  ///   writing). Blocks that were had before the failure stay with the file: they hold zeros and lose nothing;
  ///   ``punchHole(_:)`` gives them back.
  /// - Complexity: about 0.1 ms and 1 µs a page. C: `fallocate`, `madvise(MADV_POPULATE_WRITE)`.
  @discardableResult
  public borrowing func reserve(_ bounds: Range<Int>? = nil) throws(MappingError) -> Reservation {
    let lower = bounds?.lowerBound ?? 0
    let upper = bounds?.upperBound ?? count
    let pages = try map.pages(of: bounds, .reserveSpace)
    try requireWritable(.reserveSpace)
    guard pages.length > 0 else { return .held }
    // Not one byte beyond the view: the size of the file is not ours to change.
    let offset = fileOffset + Int64(lower)
    let length = Int64(upper - lower)
    try map.compareWithFile(.size, since: nil, upTo: upper, .reserveSpace)
    guard pgw_storage_allocate(map.range.descriptor, offset, length) == 0 else {
      throw .last(.reserveSpace, path: path, offset: offset, length: length)
    }
    do throws(MappingError) { try prefault(bounds) } catch {
      // A kernel without the call: the blocks are there, which is what counts.
      if error.code != .notSupported {
        var error = error
        error.operation = .reserveSpace
        throw error
      }
    }
    return reservation(offset: offset, length: length)
  }

  private borrowing func reservation(offset: Int64, length: Int64) -> Reservation {
    var system = pgw_filesystem()
    guard unsafe pgw_fstatfs(map.range.descriptor, &system) == 0 else { return .unknown }
    switch FileSystemKind(system).name {
    case "tmpfs", "ramfs", "hugetlbfs": return .held
    case "ext4", "xfs":
      return pgw_has_shared_blocks(map.range.descriptor, offset, length) == 0 ? .held : .untilWriteBack
    case "btrfs", "zfs", "bcachefs", "f2fs", "apfs": return .untilWriteBack
    default: return .unknown
    }
  }

  /// Gives the blocks of `bounds` back to the file system: it reads as zeros afterwards, for everybody, and the size stays.
  ///
  /// The safe way to free space in a file that others map: nobody's page is lost. C: `fallocate(FALLOC_FL_PUNCH_HOLE)`.
  ///
  /// - Parameter bounds: bytes of the view; parts of pages at its ends are zeroed.
  /// - Throws: ``MappingError``: `notSupported`, `readOnly`, `invalidRange`.
  public mutating func punchHole(_ bounds: Range<Int>) throws(MappingError) {
    _ = try map.pages(of: bounds, .punchHole)
    try requireWritable(.punchHole)
    guard !bounds.isEmpty else { return }
    let offset = fileOffset + Int64(bounds.lowerBound)
    guard pgw_storage_punch(map.range.descriptor, offset, Int64(bounds.count)) == 0 else {
      throw .last(.punchHole, path: path, offset: offset, length: Int64(bounds.count))
    }
  }

  /// Refuses what would write through a mapping that has lost pages, failed, or has no way to the file.
  internal borrowing func requireWritable(_ operation: MappingError.Operation) throws(MappingError) {
    if isPoisoned { throw poisonError(operation) }
    guard options.sharing == .shared else {
      throw MappingError(
        .notSupported, operation: operation, path: path,
        detail: .note("a copy-on-write mapping reaches no file; use TransactionalFile"))
    }
    if map.range.flag.isRaised { throw map.faultError(operation) }
  }

  private borrowing func provePages(upTo upper: Int) throws(MappingError) {
    if map.range.flag.isRaised { throw map.faultError(.flush) }
    try map.compareWithFile(.size, since: nil, upTo: upper, .flush)
  }

  /// Remembers the first failure for ever.
  internal borrowing func poison(_ error: MappingError) {
    _ = firstFailure.compareExchange(
      expected: 0, desired: error.errno?.rawValue ?? Errno.ioError.rawValue, ordering: .relaxed)
  }

  internal borrowing func poisonError(_ operation: MappingError.Operation) -> MappingError {
    MappingError(
      .syncFailed, operation: operation, errno: Errno(rawValue: firstFailure.load(ordering: .relaxed)), path: path)
  }
}

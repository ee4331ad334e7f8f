// SPDX-License-Identifier: Apache-2.0

internal import CPlatform
public import SystemPackage

/// A file of any size, seen through a few mapped windows.
///
/// For files larger than the address space may hold: a 32-bit program, a process under `ulimit -v`, thousands of open files.
/// At most ``budget`` bytes are mapped at a time. A window stays mapped after its use; when the budget is full, the one that
/// was idle longest goes.
///
/// ```swift
/// let file = try WindowedFile("archive.pack", windowSize: 1 << 20, budget: 16 << 20)
/// let type = try file.withWindow(containing: entry, minimum: 20) { window, at in window.load(at: at, as: UInt8.self) }
/// ```
///
/// Windows begin at multiples of half their size, so every range of up to half a window lies in one. A longer range gets a
/// window of its own for the call. Where the kernel refuses a mapping, idle windows are dropped, and if that is not enough
/// the range is read into memory instead.
///
/// Reading is guarded as with ``MappedFile``: a cut file is a thrown error. Any number of threads may use windows at once.
public struct WindowedFile: ~Copyable, Sendable {
  /// Bytes in the file when it was opened.
  public let count: Int64
  /// The path it was opened by, or that was given for messages.
  public let path: FilePath?
  /// Bytes in a window: an even number of pages.
  public let windowSize: Int
  /// The most bytes that are mapped at a time.
  public let budget: Int
  internal let pool: WindowPool

  /// Opens the file at `path`. Nothing is mapped yet.
  ///
  /// - Parameters:
  ///   - path: any bytes but NUL.
  ///   - windowSize: bytes; rounded up to an even number of pages and limited to the budget. Nil: 64 MiB (8 MiB where
  ///     addresses have 32 bits), less where the address space is limited.
  ///   - budget: bytes. Nil: 16 windows, at most half of the address space that is left.
  ///   - followsSymbolicLinks: false refuses a path whose last part is a symbolic link.
  /// - Throws: ``MappingError`` as ``MappedFile/init(_:offset:length:options:)``; `invalidRange` for a budget below two pages.
  public init(
    _ path: FilePath, windowSize: Int? = nil, budget: Int? = nil, followsSymbolicLinks: Bool = true
  ) throws(MappingError) {
    let file = try OpenedFile(reading: path, followsSymbolicLinks: followsSymbolicLinks)
    self = try Self.make(file, windowSize: windowSize, budget: budget, path: path)
  }

  /// Uses an open file. The descriptor is duplicated; the caller's own stays the caller's.
  ///
  /// - Parameters:
  ///   - descriptor: open for reading.
  ///   - windowSize: bytes, as for a path.
  ///   - budget: bytes, as for a path.
  ///   - path: for messages only.
  /// - Throws: as ``init(_:windowSize:budget:followsSymbolicLinks:)``.
  public init(
    descriptor: FileDescriptor, windowSize: Int? = nil, budget: Int? = nil, path: FilePath? = nil
  ) throws(MappingError) {
    let file = try OpenedFile(duplicating: descriptor.rawValue, path: path)
    self = try Self.make(file, windowSize: windowSize, budget: budget, path: path)
  }

  private init(_ pool: WindowPool) {
    self.pool = pool
    count = pool.size
    path = pool.path
    windowSize = pool.windowSize
    budget = pool.budget
  }

  private static func make(
    _ file: consuming OpenedFile, windowSize: Int?, budget: Int?, path: FilePath?
  ) throws(MappingError) -> WindowedFile {
    let size = try MappedFile.mappableSize(of: file, path: path)
    let room = MemoryRoom.addressSpace.map { Int(clamping: $0 / 2) } ?? .max
    let unit = 2 * SystemPage.size
    let usual = MemoryLayout<Int>.size < 8 ? 8 << 20 : 64 << 20
    let wanted = max(windowSize ?? min(usual, room / 8), unit)
    let (manyWindows, overflow) = wanted.multipliedReportingOverflow(by: 16)
    let limit = budget ?? min(overflow ? .max : manyWindows, max(room, unit))
    guard limit >= unit else {
      throw MappingError(
        .invalidRange, operation: .map, path: path, length: Int64(limit),
        detail: .note("a budget holds at least one window of two pages, \(unit) bytes"))
    }
    let (raised, tooLarge) = wanted.addingReportingOverflow(unit - 1)
    let rounded = min((tooLarge ? Int.max : raised) / unit * unit, limit / unit * unit)
    return WindowedFile(
      WindowPool(OwnedDescriptor(number: file.take()), size: size, windowSize: rounded, budget: limit, path: path))
  }

  /// Runs `body` over a window that holds at least `minimum` bytes from `offset` on.
  ///
  /// - Parameters:
  ///   - offset: in bytes from the start of the file.
  ///   - minimum: bytes; up to ``budget``.
  ///   - check: what is proved at the end, see ``FaultCheck``.
  ///   - body: gets the window and where in it `offset` is. Must not suspend; the span cannot leave it. It may use other
  ///     windows of the same file.
  /// - Throws: ``MappingError``: `invalidRange` for bytes outside the file, `limitExceeded` for more than the budget,
  ///   `truncated`, `inputOutput`, `memoryExhausted`; and what the body throws, unless a page was lost.
  /// - Complexity: a search through the windows when one of them fits; else an mmap, and munmap for what has to go.
  public borrowing func withWindow<R>(
    containing offset: Int64, minimum: Int = 1, check: FaultCheck = .pages, _ body: (RawSpan, _ at: Int) throws -> R
  ) throws -> R {
    let (end, overflow) = offset.addingReportingOverflow(Int64(minimum))
    guard offset >= 0, minimum >= 0, !overflow, end <= count else {
      throw MappingError(
        .invalidRange, operation: .map, path: path, offset: offset, length: Int64(minimum), detail: .fileSize(count))
    }
    guard minimum <= budget else {
      throw MappingError(
        .limitExceeded, operation: .map, path: path, offset: offset, length: Int64(minimum),
        detail: .limit(Int64(budget)))
    }
    if offset == count { return try body(RawSpan(), 0) }
    guard let window = try pool.acquire(offset, max(1, minimum)) else {
      return try withReadRange(offset, max(1, minimum), body)
    }
    defer { pool.release(window) }
    return try window.file.withBytes(check: check) { span in try body(span, Int(offset - window.start)) }
  }

  /// Without a mapping: a buffer for the call.
  private borrowing func withReadRange<R>(
    _ offset: Int64, _ minimum: Int, _ body: (RawSpan, Int) throws -> R
  ) throws -> R {
    // Somewhat more than asked for, so that a pass makes progress.
    let length = Int(min(Int64(max(minimum, WindowPool.readAhead)), count - offset))
    var buffer = ReadBuffer()
    try buffer.reserve(length, path: path)
    guard let base = unsafe buffer.base else { return try body(RawSpan(), 0) }
    unsafe try pool.read(offset, length, base)
    return try body(unsafe RawSpan(_unsafeStart: base, byteCount: length), 0)
  }

  /// Runs `body` over the whole file, window by window, each byte once and in order.
  ///
  /// - Parameters:
  ///   - start: the first byte, from the start of the file.
  ///   - body: gets the bytes and the offset of the first. The span cannot leave it. What it throws ends the pass.
  /// - Throws: as ``withWindow(containing:minimum:check:_:)``; `invalidRange` for a start outside the file.
  /// - Complexity: O(n) with at most ``budget`` bytes mapped.
  public borrowing func forEachWindow(
    from start: Int64 = 0, _ body: (RawSpan, _ offset: Int64) throws -> Void
  ) throws {
    guard (0...count).contains(start) else {
      throw MappingError(.invalidRange, operation: .map, path: path, offset: start, detail: .fileSize(count))
    }
    var at = start
    while at < count {
      // The last window proves that the file is still as long as it was.
      let isLast = count - at <= Int64(windowSize)
      at += Int64(
        try withWindow(containing: at, check: isLast ? .size : .pages) { window, first in
          let rest = window.extracting(first...)
          try body(rest, at)
          return rest.byteCount
        })
    }
  }

  /// Counts since the file was opened. For watching whether window size and budget fit the use.
  public var statistics: Statistics { pool.statistics }

  /// Unmaps all windows that no other thread uses now. They come back when they are needed.
  public borrowing func dropIdleWindows() { pool.dropIdle() }

  /// How the windows were used.
  public struct Statistics: Sendable, Hashable {
    /// Calls that found their bytes in a window that was mapped already.
    public internal(set) var hits = 0
    /// Windows mapped.
    public internal(set) var maps = 0
    /// Windows unmapped to make room.
    public internal(set) var unmaps = 0
    /// Windows made for one long range.
    public internal(set) var temporary = 0
    /// Calls that read instead, because the kernel or the budget had no room for a mapping.
    public internal(set) var reads = 0
    /// Bytes mapped now.
    public internal(set) var mappedBytes = 0
    /// The most bytes that were mapped at a time.
    public internal(set) var peakBytes = 0
  }
}

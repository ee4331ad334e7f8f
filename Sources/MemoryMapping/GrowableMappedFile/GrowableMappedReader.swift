// SPDX-License-Identifier: Apache-2.0

internal import CPlatform
public import SystemPackage

/// Reads a ``GrowableMappedFile`` while it grows, in any thread or process: what was read stays at its address, and a torn record is
/// never seen.
///
/// ```swift
/// var reader = try GrowableMappedReader("events.log")
/// var done = 0
/// while true {
///   let now = try reader.refresh()
///   try reader.withBytes(done..<now) { bytes in consume(bytes) }
///   done = now
/// }
/// ```
@safe
public struct GrowableMappedReader: ~Copyable, Sendable {
  private let range: MappedRange
  public let path: FilePath
  /// Bytes of each record, or 0 for records of any length.
  public let stride: Int
  /// Committed bytes at the last ``refresh()``.
  public private(set) var count: Int

  /// Opens for reading.
  ///
  /// - Parameters:
  ///   - path: of a growable file.
  ///   - maximumSize: address space to reserve; what can be read of the file without opening it anew. Bytes; costs no memory.
  /// - Throws: ``MappingError``: `notFound`, `invalidLayout`, `corrupt`, `permissionDenied`.
  public init(_ path: FilePath, maximumSize: Int = 64 << 30) throws(MappingError) {
    let file = try OpenedFile(reading: path, followsSymbolicLinks: true)
    guard file.kind == .regular else {
      throw MappingError(file.kind == .directory ? .isDirectory : .unsupportedFileType, operation: .open, path: path)
    }
    var bytes = [UInt8](repeating: 0, count: GrowableFormat.headerSize)
    let got = unsafe bytes.withUnsafeMutableBytes {
      unsafe pgw_storage_read(file.descriptor, $0.baseAddress!, $0.count, 0)
    }
    guard got >= 0 else { throw .last(.read, path: path) }
    let header = try GrowableFormat.Header(Array(bytes[..<got]), path: path, .open)
    // Without a writer the word may be older or newer than what a power cut has left: the checksums decide.
    let isLocked = pgw_storage_is_locked(file.descriptor) == 1
    let content =
      isLocked
      ? nil : try GrowableContent(header, descriptor: file.descriptor, size: file.stat.size, path: path, .open)

    let room = try AddressRoom(
      wish: maximumSize, least: Int(clamping: file.stat.size), protection: 1, flags: PGW_MAP_SHARED,
      descriptor: file.descriptor, .map, path: path)
    let range = unsafe try MappedRange(
      adopting: room.base, length: room.length, descriptor: file.take(), fileOffset: 0, protection: 1, fillByte: 0,
      path: path)
    if let slot = unsafe range.slot { unsafe pgw_guard_set_length(slot, GrowableFormat.headerSize) }
    let word = unsafe UInt64(littleEndian: pgw_load_word(range.base + GrowableFormat.committedOffset))
    let now = content?.committed ?? Int(clamping: word)
    guard now <= room.length - GrowableFormat.headerSize, !range.flag.isRaised else {
      throw MappingError(
        .addressSpaceExhausted, operation: .map, path: path, length: Int64(now), detail: .limit(Int64(room.length)))
    }
    if let slot = unsafe range.slot { unsafe pgw_guard_set_length(slot, GrowableFormat.headerSize + now) }
    self.range = range
    self.path = path
    stride = header.stride
    trusted = content?.committed
    seenWord = word
    count = now
  }

  /// The length that the checksums prove, while no writer has been seen.
  private var trusted: Int?
  /// The committed length as it stood in the file then.
  private var seenWord: UInt64

  private borrowing func prove() throws(MappingError) -> Int {
    var bytes = [UInt8](repeating: 0, count: GrowableFormat.headerSize)
    let got = unsafe bytes.withUnsafeMutableBytes {
      unsafe pgw_storage_read(range.descriptor, $0.baseAddress!, $0.count, 0)
    }
    var now = pgw_stat()
    guard got >= 0, unsafe pgw_fstat(range.descriptor, &now) == 0 else { throw .last(.read, path: path) }
    let header = try GrowableFormat.Header(Array(bytes[..<got]), path: path, .read)
    return try GrowableContent(header, descriptor: range.descriptor, size: now.size, path: path, .read).committed
  }

  /// Looks how much is committed now. One acquiring load, but where a writer has come or gone since the last time.
  ///
  /// - Returns: committed bytes; never fewer than before.
  /// - Throws: ``MappingError`` when the header's page was lost; `addressSpaceExhausted` when the file has outgrown the reservation.
  @discardableResult
  public mutating func refresh() throws(MappingError) -> Int {
    // Pairs with the writer's releasing store: the bytes up to this length are there.
    let word = unsafe UInt64(littleEndian: pgw_load_word(range.base + GrowableFormat.committedOffset))
    try checkFault()
    var now = Int(clamping: word)
    if let proved = trusted {
      now = proved
      // A writer has come since. While it is there its word counts; if it has gone, what it left is proved anew.
      if word != seenWord {
        let isLocked = pgw_storage_is_locked(range.descriptor) == 1
        now = isLocked ? Int(clamping: word) : try prove()
        trusted = isLocked ? nil : now
        seenWord = word
      }
    }
    guard now > count else { return count }
    guard now <= range.length - GrowableFormat.headerSize else {
      throw MappingError(
        .addressSpaceExhausted, operation: .read, path: path, length: Int64(now),
        detail: .limit(Int64(range.length - GrowableFormat.headerSize)))
    }
    if let slot = unsafe range.slot { unsafe pgw_guard_set_length(slot, GrowableFormat.headerSize + now) }
    count = now
    return now
  }

  /// Runs `body` over committed bytes; throws afterwards if a page among them was lost.
  ///
  /// - Parameters:
  ///   - bounds: bytes of the data, up to ``count``; nil for all of it.
  ///   - body: must not suspend. The span cannot leave it.
  /// - Throws: ``MappingError``: `invalidRange`, `truncated`, `inputOutput`; what `body` throws.
  public borrowing func withBytes<R>(_ bounds: Range<Int>? = nil, _ body: (RawSpan) throws -> R) throws -> R {
    let lower = bounds?.lowerBound ?? 0
    let upper = bounds?.upperBound ?? count
    guard lower >= 0, upper <= count else {
      throw MappingError(
        .invalidRange, operation: .read, path: path, offset: Int64(lower), detail: .note("\(count) bytes are committed")
      )
    }
    try checkFault()
    let start = unsafe range.base + GrowableFormat.headerSize + lower
    let result = Result { try body(unsafe RawSpan(_unsafeStart: start, byteCount: upper - lower)) }
    try checkFault()
    return try result.get()
  }

  private borrowing func checkFault() throws(MappingError) {
    if range.flag.isRaised { throw range.faultError(.read, path: path) }
  }
}

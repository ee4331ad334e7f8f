// SPDX-License-Identifier: Apache-2.0

internal import CPlatform
public import SystemPackage

/// A mapped file that grows by appending, at an address that never moves.
///
/// ```swift
/// var log = try GrowableMappedFile("events.log")
/// try log.append("hello".utf8.span.bytes)
/// try log.flush(.data)
/// ```
///
/// Appending through a plain mapping is slow: each new page costs a fault in which the file system allocates a block (3 to 5 µs a page
/// on ext4), and growing the mapping costs a remap that moves what readers look at. Here the address space is reserved once, and the
/// file is made longer ahead of the appends by large writes of zeros, which the kernel keeps in large folios that one fault maps: an
/// append is a copy, a checksum and two stores. `Benchmarks/RESULTS.md` has the figures.
///
/// **What is promised.** An append is committed when it returns: readers in every process see all of it or nothing
/// (``GrowableMappedReader``), and it survives the end of this process, however that comes. ``flush(_:)`` makes everything committed
/// durable. After a power cut the next open finds at least what was flushed, always at the end of an append, never a torn one. A
/// full disk is an error at the append that meets it, and nothing is lost.
///
/// The file begins with a header of 4,096 bytes; the data follows, plain. The format stands in `GrowableFormat.swift`. One writer, by
/// lock; any number of readers.
@safe
public struct GrowableMappedFile: ~Copyable, Sendable {
  internal let range: MappedRange
  private let lock: WriterLock
  public let path: FilePath
  /// How it was opened.
  public let options: Options
  /// Bytes of each record, or 0 for records of any length.
  public let stride: Int
  /// Committed bytes.
  public internal(set) var count: Int
  /// Bytes that a power cut cannot take away.
  public internal(set) var durableCount: Int
  internal let seed: UInt32
  /// Of the data from `durableCount` to `count`.
  internal var checksum: UInt32
  internal var sequence: UInt64
  /// Data bytes that the file has room for.
  internal var prepared: Int
  /// How much the next preparation adds.
  internal var chunk: Int
  internal var preparedSinceFlush = false
  /// Which of the durable slots the next flush writes.
  internal var durableSlot: Int
  internal var failure: MappingError?

  /// How to open.
  public struct Options: Sendable, Hashable {
    /// Address space to reserve: what the file can grow to without being opened anew. Bytes; costs no memory. Where the process may
    /// not have as much, it gets what there is.
    public var maximumSize = 64 << 30
    /// How much the file is made longer at a time. It begins with the lower bound, doubles up to the upper one while appends come
    /// without flushes, and shrinks again when flushes come often: a flush writes whole folios, so large ones would make it write
    /// more than was appended.
    public var chunk = 1 << 16...1 << 22
    /// Also map the new pages ahead, so that no append meets a fault. About doubles the cost of an append on average, and takes the
    /// rare ones of some microseconds away.
    public var prefaults = false
    /// Bytes of each record, from 1 to 2^31; every append must be a multiple of it. 0 for any length. Fixed when the file is made.
    public var stride = 0

    public init() {}
  }

  /// Opens a growable file for appending, or makes it.
  ///
  /// After a crash this finds the committed length again and gives back the space behind it.
  ///
  /// - Parameters:
  ///   - path: of a regular file.
  ///   - creating: whether to make it when there is none.
  ///   - permissions: of a file that is made, before the umask.
  ///   - options: see ``Options``.
  /// - Throws: ``MappingError``: `busy` while another writer has it; `invalidLayout` when it is another kind of file or has another
  ///   stride; `corrupt`; `noSpace`; `notFound`.
  public init(
    _ path: FilePath, creating: Bool = true, permissions: FilePermissions = [.ownerReadWrite, .groupRead, .otherRead],
    options: Options = .init()
  ) throws(MappingError) {
    try Self.check(options, path)
    let file = try Self.open(path, creating: creating, permissions: permissions, stride: options.stride)
    guard file.kind == .regular else {
      throw MappingError(file.kind == .directory ? .isDirectory : .unsupportedFileType, operation: .open, path: path)
    }
    let lock = try WriterLock(file.descriptor, path: path)
    let header = try Self.readHeader(file.descriptor, stride: options.stride, path: path)
    guard options.stride == 0 || header.stride == options.stride else {
      throw MappingError(
        .invalidLayout, operation: .open, path: path, detail: .note("its records have \(header.stride) bytes"))
    }
    var now = pgw_stat()
    guard unsafe pgw_fstat(file.descriptor, &now) == 0 else { throw .last(.stat, path: path) }
    let content = try GrowableContent(header, descriptor: file.descriptor, size: now.size, path: path, .open)
    try Self.settle(file.descriptor, content, path: path)
    // What an append had begun, or the zeros ahead of it.
    let end = Int64(GrowableFormat.headerSize + content.committed)
    if now.size > end, pgw_storage_truncate(file.descriptor, end) != 0 { throw .last(.resize, path: path, offset: end) }

    let range = try Self.map(file, size: Int(end), options: options, path: path)
    // Readers may be there already, and a power cut may have left an older word.
    unsafe pgw_store_word(range.base + GrowableFormat.committedOffset, UInt64(content.committed).littleEndian)
    if range.flag.isRaised { throw MappingError(.faulted, operation: .open, path: path, offset: 0) }
    self.range = range
    self.lock = lock
    self.path = path
    self.options = options
    stride = header.stride
    count = content.committed
    durableCount = content.durable
    seed = GrowableFormat.seed(header.identifier)
    checksum = content.checksum
    sequence = content.sequence
    durableSlot = 1 - content.durableSlot
    prepared = content.committed
    chunk = min(options.chunk.lowerBound, options.maximumSize, 1 << 40)
  }

  /// Makes what was found durable before anything is built on it. It may be in the page cache alone: left by a writer that was killed
  /// before its sync ended, or, after a sync that failed, never to be written again by itself. So what came after the older of the two
  /// flushes is written once more.
  private static func settle(
    _ descriptor: CInt, _ content: GrowableContent, path: FilePath
  ) throws(MappingError) {
    // The name, too, if its maker was killed before its folder was synced.
    try path.syncFolder(.open)
    guard content.committed > 0 else { return }
    var at = content.settled
    var bytes = [UInt8](repeating: 0, count: min(1 << 20, max(512, content.committed - at)))
    func copy(_ offset: Int64, _ count: Int) throws(MappingError) {
      let done = unsafe bytes.withUnsafeMutableBytes { buffer in
        unsafe pgw_storage_read(descriptor, buffer.baseAddress!, count, offset) == count
          && pgw_storage_write(descriptor, buffer.baseAddress!, count, offset) == 0
      }
      if !done { throw .last(.open, path: path, offset: offset, length: Int64(count)) }
    }
    while at < content.committed {
      let step = min(bytes.count, content.committed - at)
      try copy(Int64(GrowableFormat.headerSize + at), step)
      at += step
    }
    for slot in GrowableFormat.durableSlots + GrowableFormat.commitSlots {
      try copy(Int64(slot), GrowableFormat.Slot.byteCount)
    }
    guard pgw_storage_sync(descriptor, PGW_SYNC_DATA) == 0 else { throw .last(.open, path: path) }
  }

  private static func check(_ options: Options, _ path: FilePath) throws(MappingError) {
    guard options.chunk.lowerBound > 0, options.maximumSize > 0, options.stride >= 0, options.stride <= 1 << 31 else {
      throw MappingError(.invalidRange, operation: .open, path: path, detail: .note("an option is out of range"))
    }
  }

  private static func readHeader(
    _ descriptor: CInt, stride: Int, path: FilePath
  ) throws(MappingError) -> GrowableFormat.Header {
    var bytes = [UInt8](repeating: 0, count: GrowableFormat.headerSize)
    let got = unsafe bytes.withUnsafeMutableBytes {
      unsafe pgw_storage_read(descriptor, $0.baseAddress!, $0.count, 0)
    }
    guard got >= 0 else { throw .last(.read, path: path) }
    // An empty file that somebody made for us.
    guard got == 0 else { return try GrowableFormat.Header(Array(bytes[..<got]), path: path, .open) }
    return try GrowableFormat.Header(writeHeader(descriptor, stride: stride, path: path), path: path, .open)
  }

  private static func writeHeader(_ descriptor: CInt, stride: Int, path: FilePath) throws(MappingError) -> [UInt8] {
    var identifier: UInt64 = 0
    guard unsafe withUnsafeMutableBytes(of: &identifier, { unsafe pgw_random($0.baseAddress!, 8) }) == 0 else {
      throw .last(.create, path: path)
    }
    let fresh = GrowableFormat.newHeader(identifier: identifier, stride: stride)
    guard unsafe fresh.withUnsafeBytes({ unsafe pgw_storage_write(descriptor, $0.baseAddress!, $0.count, 0) }) == 0,
      pgw_storage_sync(descriptor, PGW_SYNC_DEVICE) == 0
    else { throw .last(.create, path: path) }
    return fresh
  }

  /// Opens the file, or makes it: under another name, so that a crash leaves no half of a header.
  private static func open(
    _ path: FilePath, creating: Bool, permissions: FilePermissions, stride: Int
  ) throws(MappingError) -> OpenedFile {
    for _ in 0..<100 {
      do throws(MappingError) {
        return try OpenedFile(writing: path, creating: .never, permissions: permissions, followsSymbolicLinks: true)
      } catch {
        guard creating, error.code == .notFound else { throw error }
      }
      var number: UInt64 = 0
      _ = unsafe withUnsafeMutableBytes(of: &number) { unsafe pgw_random($0.baseAddress!, 8) }
      let draft = path.appending(suffix: ".pagewise-" + String(number, radix: 36))
      let file = try OpenedFile(
        writing: draft, creating: .exclusive(size: 0), permissions: permissions, followsSymbolicLinks: false)
      do throws(MappingError) {
        _ = try writeHeader(file.descriptor, stride: stride, path: draft)
        let renamed = unsafe draft.withPlatformString { from in
          unsafe path.withPlatformString { to in unsafe pgw_storage_rename_new(from, to) }
        }
        if renamed != 0 { throw .last(.create, path: path) }
      } catch {
        _ = unsafe draft.withPlatformString { unsafe pgw_storage_unlink($0) }
        // Another one was faster: its file is taken.
        if error.code == .alreadyExists { continue }
        throw error
      }
      try path.syncFolder(.create)
      return file
    }
    throw MappingError(.busy, operation: .create, path: path)
  }

  /// Maps far beyond the end of the file: what is there later is there at its address, without another call.
  private static func map(
    _ file: consuming OpenedFile, size: Int, options: Options, path: FilePath
  ) throws(MappingError) -> MappedRange {
    let room = try AddressRoom(
      wish: options.maximumSize, least: size + 1, protection: 3, flags: PGW_MAP_SHARED, descriptor: file.descriptor,
      .map,
      path: path)
    let range = unsafe try MappedRange(
      adopting: room.base, length: room.length, descriptor: file.take(), fileOffset: 0, protection: 3, fillByte: 0,
      path: path)
    if let slot = unsafe range.slot { unsafe pgw_guard_set_length(slot, size) }
    return range
  }

  /// True once a sync has failed: every call but reading throws `syncFailed` from then on.
  public var isPoisoned: Bool { failure != nil }
  /// What the file can grow to without being opened anew, bytes.
  public var maximumCount: Int { range.length - GrowableFormat.headerSize }
  /// True when nothing was appended yet.
  public var isEmpty: Bool { count == 0 }

  /// The file from its header to the end of what is prepared, as it is mapped; for tests that watch what is stored.
  @_spi(Testing) public var wholeFile: UnsafeRawBufferPointer {
    unsafe UnsafeRawBufferPointer(start: range.base, count: GrowableFormat.headerSize + prepared)
  }

  /// The first byte of the data.
  internal var start: UnsafeMutableRawPointer { unsafe range.base + GrowableFormat.headerSize }

  internal borrowing func checkFault(_ operation: MappingError.Operation) throws(MappingError) {
    if range.flag.isRaised { throw range.faultError(operation, path: path) }
  }

  /// Gives the prepared space behind the data back, unmaps and closes; before that makes everything durable.
  ///
  /// Without it, at the end of scope, nothing committed is lost, and the file stays longer until it is opened again.
  ///
  /// - Parameter flushing: false leaves what was committed to the kernel, which writes it within some ten seconds; a power cut
  ///   before takes what was not flushed.
  /// - Throws: ``MappingError`` when something could not be made durable. It is closed all the same.
  public consuming func close(flushing: Bool = true) throws(MappingError) {
    if failure == nil {
      if flushing { try flush(.data) }
      // Nobody touches what lies behind the committed length.
      let end = Int64(GrowableFormat.headerSize + count)
      guard pgw_storage_truncate(range.descriptor, end) == 0 else { throw .last(.close, path: path, offset: end) }
    }
    let path = self.path
    if let errno = range.close() { throw MappingError(errno, .close, path: path) }
  }
}

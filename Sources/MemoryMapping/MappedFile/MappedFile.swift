// SPDX-License-Identifier: Apache-2.0

internal import CPlatform
public import SystemPackage

/// A range of a file, mapped for reading.
///
/// The bytes come straight from the page cache, shared with every other process that has the file. The value owns the
/// mapping: it cannot be copied, ends with ``close()`` or its scope, and a view of its bytes cannot outlive it, which the
/// compiler proves.
///
/// ```swift
/// let map = try MappedFile("words.txt")
/// let lines = try map.withBytes { $0.count(of: UInt8(ascii: "\n")) }
/// ```
///
/// **What can happen to you.** The file is not yours alone. Another process may cut it, overwrite it, or its device may
/// fail. Each way to read says what it promises then:
///
/// | call | promise |
/// |---|---|
/// | `copy(_:into:check:)`, `load(at:as:)` | never killed, never an invented byte |
/// | `withBytes { }` | never killed; throws at the end if a page was lost, so nothing computed from it escapes |
/// | ... `check: .size` or `.stamp` | also a cut inside a page; also a cut and regrow, or a `write` by others |
/// | ``Options/stability`` | the loss cannot happen: sealed, leased, or a snapshot |
/// | ``bytes`` | `@unsafe`: nothing is checked; for files whose stability you can prove |
///
/// C counterparts: `open`, `fstat`, `mmap`, `munmap`, `close`, in that order and nothing else on the healthy path.
@safe
public struct MappedFile: ~Copyable, Sendable {
  @usableFromInline internal let range: MappedRange
  /// Bytes between the start of the mapping and the first byte of the view.
  @usableFromInline internal let slack: Int
  /// Bytes in the view.
  public let count: Int
  /// Where in the file the view begins, in bytes.
  public let fileOffset: Int64
  /// The path it was opened by, if any.
  public let path: FilePath?
  /// The file as it was when it was mapped. For a snapshot: the file that the snapshot was taken of.
  public let identity: FileIdentity
  /// How it was mapped.
  public let options: Options

  /// Maps the file at `path`.
  ///
  /// An empty file, or a range of no bytes, gives an empty view without a mapping.
  ///
  /// - Parameters:
  ///   - path: any bytes but NUL.
  ///   - offset: first byte, from the start of the file; need not be aligned.
  ///   - length: bytes; nil for all up to the end.
  ///   - options: see ``Options``.
  /// - Throws: ``MappingError``: `notFound`, `permissionDenied`, `isDirectory`, `symbolicLink`, `unsupportedFileType` (pipes,
  ///   sockets, character devices, and files of /proc that have content but no size: ``FileBytes`` reads those),
  ///   `invalidRange`, `addressSpaceExhausted`, `mappingLimitReached`, and those of the options.
  /// - Complexity: O(1); five system calls with those at the end.
  public init(
    _ path: FilePath, offset: Int64 = 0, length: Int? = nil, options: Options = .init()
  ) throws(MappingError) {
    let file = try OpenedFile(reading: path, followsSymbolicLinks: options.followsSymbolicLinks)
    try self.init(file, offset: offset, length: length, options: options, path: path)
  }

  /// Maps an open file. The descriptor is duplicated; the caller's own stays the caller's.
  ///
  /// - Parameters:
  ///   - descriptor: open for reading.
  ///   - offset: first byte, from the start of the file.
  ///   - length: bytes; nil for all up to the end.
  ///   - options: see ``Options``.
  ///   - path: for error messages only.
  /// - Throws: as ``init(_:offset:length:options:)``.
  public init(
    descriptor: FileDescriptor, offset: Int64 = 0, length: Int? = nil, options: Options = .init(),
    path: FilePath? = nil
  ) throws(MappingError) {
    let file = try OpenedFile(duplicating: descriptor.rawValue, path: path)
    try self.init(file, offset: offset, length: length, options: options, path: path)
  }

  /// Takes over an open descriptor, which is closed with the mapping, or at once on failure. For measuring this type with
  /// the system calls of opening by path, but a descriptor that was opened in a special way.
  @_spi(Adoption) public init(
    adopting descriptor: CInt, length: Int? = nil, options: Options = .init(), path: FilePath? = nil
  ) throws(MappingError) {
    let file = try OpenedFile(owning: descriptor, path: path)
    try self.init(file, offset: 0, length: length, options: options, path: path)
  }

  internal init(
    _ file: consuming OpenedFile, offset: Int64, length: Int?, options: Options, path: FilePath?, protection: CInt = 1
  ) throws(MappingError) {
    let size = try Self.mappableSize(of: file, path: path)
    let viewCount = try Self.viewCount(size: size, offset: offset, length: length, path: path)
    let stamp = FileIdentity(file.stat)
    let fileToMap = try Self.prepare(file, options: options, path: path)
    // A copy is taken later than the size was asked: what the file lost in between is not in the copy.
    if options.stability == .snapshot, fileToMap.stat.size < offset + Int64(viewCount) {
      throw MappingError(
        .truncated, operation: .snapshot, path: path, offset: fileToMap.stat.size,
        length: offset + Int64(viewCount) - fileToMap.stat.size, detail: .fileSize(fileToMap.stat.size))
    }
    let unit = Self.pageSize(of: fileToMap)
    var range = try Self.map(
      fileToMap, offset: offset, count: viewCount, pageSize: unit, options: options, path: path, protection: protection)
    range.holdsLease = options.stability == .lease
    self.range = range
    self.slack = Int(offset & Int64(unit - 1))
    self.count = viewCount
    self.fileOffset = offset
    self.path = path
    self.identity = stamp
    self.options = options
  }

  /// True for a view without bytes.
  public var isEmpty: Bool { count == 0 }

  /// The mark that the first lost page raises. Cursors over the mapping hold it.
  public var faultFlag: FaultFlag { range.flag }

  /// The loss that the mapping has met, or nil while it is healthy. Sticky until ``recover()``.
  ///
  /// On a faulted mapping this asks the file for the reason (a few system calls).
  public var fault: MappingFault? { range.fault(slack: slack, count: count) }

  /// True while the file at the other end is the one that was mapped: same size and stamps now as then.
  ///
  /// False when they moved, or when the mapping kept no descriptor to ask. About 0.4 µs (fstat).
  public var isCurrent: Bool {
    guard range.descriptor >= 0, options.stability != .snapshot else { return options.stability == .snapshot }
    var now = pgw_stat()
    guard unsafe pgw_fstat(range.descriptor, &now) == 0 else { return false }
    return FileIdentity(now) == identity
  }

  /// With ``Options/Stability/lease``: true while the kernel has not been asked to take the lease back. False tells that
  /// somebody waits to open the file for writing and will get it after the system's lease-break time.
  public var isLeaseHeld: Bool { range.descriptor >= 0 && pgw_lease_is_held(range.descriptor) == 1 }

  /// Unmaps and closes, and tells if that failed; the end of scope does the same silently.
  ///
  /// A view that is still in use is a compile error.
  public consuming func close() throws(MappingError) {
    let path = self.path
    if let failure = range.close() { throw MappingError(failure, .close, path: path) }
  }
}

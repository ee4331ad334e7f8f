// SPDX-License-Identifier: Apache-2.0

internal import CPlatform
internal import Synchronization
public import SystemPackage

/// The bytes of any file, by the way that is fastest for it: mapped, buffered or streamed behind one interface.
///
/// Mapping is not always faster. For small files and scattered bytes it loses by a factor of ten, on network file systems it
/// is slow and can lose pages, and pipes cannot be mapped at all. `FileBytes` chooses from a model of this machine and the
/// stated access pattern, and ``decision`` says what it did and why.
///
/// ```swift
/// var file = try FileBytes("events.log", access: .sequential)
/// var newlines = 0
/// try file.forEachChunk { chunk, offset in newlines += chunk.count(of: 10) }
/// print(file.decision)  // Mapped: 64 MiB on ext4, 100 % resident in 256-page folios; mapping costs 3.9 ms, reading 9.1 ms.
/// ```
///
/// Works on anything that can be read: regular files, files of /proc, block devices, pipes, FIFOs and standard input. Opening
/// never waits for a FIFO's writer; the first read does, for ``Options/fifoTimeoutMilliseconds``.
///
/// Whatever the strategy, a file that is cut while in use ends in a thrown ``MappingError``, never in a killed process or an
/// invented byte. Several threads may read through one value at the same time with `copy(at:into:)` and ``load(at:as:)``.
@safe
public struct FileBytes: ~Copyable, @unchecked Sendable {
  /// What the file was opened for.
  public let access: AccessPattern
  /// The path it was opened by, or that was given for messages.
  public let path: FilePath?
  /// How it was opened.
  public let options: Options

  internal let owned: OwnedDescriptor
  /// Bytes at the time of opening; what is beyond is not read, what is missing is an error.
  @usableFromInline internal let size: Int64
  /// For what cannot be mapped or read at an offset; nil for files.
  internal let stream: StreamSource?
  internal var facts: FileFacts
  internal var plan: Plan
  /// The whole content, or the last piece.
  internal var buffer: ReadBuffer
  /// Where the whole content begins once `buffer` holds it, which it then does to the end.
  /// Spelled out, because `?` would give it a default value, and the initializers assign `self` as one.
  @usableFromInline internal var whole: Optional<UnsafeRawPointer>
  @usableFromInline internal let late: LateMapping

  internal var isBuffered: Bool { unsafe whole != nil }

  internal var descriptor: CInt { owned.number }

  /// How to open and read.
  public struct Options: Sendable, Hashable {
    /// Use this strategy instead of choosing. It must still be possible: a pipe is streamed whatever is asked, and a file that
    /// cannot be mapped is read; ``Decision`` tells.
    public var strategy: Strategy? = nil
    /// Where the cost figures come from.
    public var calibration = CalibrationSource.automatic
    /// Refuse input above this many bytes with `limitExceeded`. Nil: no limit for files, 1 GiB for pipes and the like, whose
    /// size nobody knows beforehand.
    public var maximumByteCount: Int64? = nil
    /// False refuses a path whose last part is a symbolic link. C: `O_NOFOLLOW`.
    public var followsSymbolicLinks = true
    /// How long the first read of a FIFO waits for somebody to open it for writing, in milliseconds.
    public var fifoTimeoutMilliseconds = 5_000
    /// What a mapped read proves. `.size` is exact: also a cut inside the last page is found, at the price of two system
    /// calls for a copy with a zero byte or of more than a page.
    public var check = FaultCheck.size

    public init() {}
  }

  /// Opens the file at `path` and chooses how to read it.
  ///
  /// - Parameters:
  ///   - path: any bytes but NUL.
  ///   - access: what the program will do with it.
  ///   - options: see ``Options``.
  /// - Throws: ``MappingError``: `notFound`, `permissionDenied`, `isDirectory`, `symbolicLink`, `unsupportedFileType` for sockets
  ///   and character devices, `limitExceeded`.
  /// - Complexity: two system calls for a small file, some ten for a large one. C counterpart: `open`, `fstat`, then `read` or
  ///   `mmap`.
  public init(
    _ path: FilePath, access: AccessPattern = .sequential, options: Options = .init()
  ) throws(MappingError) {
    let file = try OpenedFile(reading: path, followsSymbolicLinks: options.followsSymbolicLinks)
    if file.kind == .characterDevice {
      throw MappingError(
        .unsupportedFileType, operation: .open, path: path,
        detail: .note("a character device; open it yourself and pass the descriptor"))
    }
    self = try Self.make(file, access: access, options: options, path: path, isOwnOpening: true)
  }

  /// Reads from an open descriptor, which is duplicated: the caller keeps its own. Standard input is `.standardInput`.
  ///
  /// A file is read from its start whatever the descriptor's position; a pipe, socket or terminal from where it is.
  ///
  /// - Parameters:
  ///   - descriptor: open for reading.
  ///   - access: what the program will do with it.
  ///   - options: see ``Options``.
  ///   - path: for messages only.
  /// - Throws: as ``init(_:access:options:)``.
  public init(
    descriptor: FileDescriptor, access: AccessPattern = .sequential, options: Options = .init(),
    path: FilePath? = nil
  ) throws(MappingError) {
    let file = try OpenedFile(duplicating: descriptor.rawValue, path: path)
    self = try Self.make(file, access: access, options: options, path: path, isOwnOpening: false)
  }

  /// Takes over an open descriptor, which is closed with the value, or at once on failure. For measuring this type with the
  /// system calls of opening by path, but a descriptor that was opened in a special way.
  @_spi(Adoption) public init(
    adopting descriptor: CInt, access: AccessPattern, options: Options = .init(), path: FilePath? = nil
  ) throws(MappingError) {
    let file = try OpenedFile(owning: descriptor, path: path)
    self = try Self.make(file, access: access, options: options, path: path, isOwnOpening: false)
  }

  private init(
    _ owned: consuming OwnedDescriptor, stream: StreamSource?, facts: FileFacts, plan: Plan, access: AccessPattern,
    options: Options, path: FilePath?
  ) {
    self.owned = owned
    self.late = LateMapping(reviewAt: .max)
    self.buffer = ReadBuffer()
    unsafe self.whole = nil
    self.stream = stream
    self.facts = facts
    self.plan = plan
    self.size = facts.size
    self.access = access
    self.options = options
    self.path = path
  }

  private static func make(
    _ file: consuming OpenedFile, access: AccessPattern, options: Options, path: FilePath?, isOwnOpening: Bool
  ) throws(MappingError) -> FileBytes {
    var facts = FileFacts(file.stat, descriptor: file.descriptor)
    let isStream = try classify(file, &facts, path)
    let limit = options.maximumByteCount
    if !isStream, let limit, facts.size > limit {
      throw MappingError(
        .limitExceeded, operation: .open, path: path, length: facts.size, detail: .limit(limit))
    }
    let device = file.stat.device
    let isFIFO = facts.type == .pipe && isOwnOpening
    let owned = OwnedDescriptor(number: file.take())
    let stream =
      isStream
      ? StreamSource(
        owned.number, path: path, isFIFO: isFIFO, limit: limit ?? 1 << 30,
        writerTimeout: max(0, options.fifoTimeoutMilliseconds)) : nil
    let isSmall = facts.size <= smallFile && access.scattered == nil && options.strategy == nil
    let plan =
      isStream || isSmall || facts.size == 0
      ? Self.plan(facts, access, .builtIn) : Plan(strategy: .read, reason: .small, isWholeBuffer: false)
    var bytes = FileBytes(
      owned, stream: stream, facts: facts, plan: plan, access: access, options: options, path: path)
    if !isStream, facts.size > 0, !isSmall { try bytes.choose(device: device) }
    return bytes
  }

  /// Whether the bytes come in order only, and an error for what cannot be read at all.
  private static func classify(
    _ file: borrowing OpenedFile, _ facts: inout FileFacts, _ path: FilePath?
  ) throws(MappingError) -> Bool {
    switch facts.type {
    case .directory: throw MappingError(.isDirectory, operation: .open, path: path)
    case .other: throw MappingError(.unsupportedFileType, operation: .open, path: path)
    case .pipe, .socket, .characterDevice: return true
    case .blockDevice: return false
    case .regular:
      if facts.size == 0 {
        facts.hasContentWithoutSize = OpenedFile.hasContent(file.descriptor)
        if facts.hasContentWithoutSize { facts.askFileSystem(file.descriptor) }
        return facts.hasContentWithoutSize
      }
      // Every file of /sys claims to be one page long.
      guard facts.size == Int64(SystemPage.size), FileFacts.mayBeSpecial(device: file.stat.device) else { return false }
      facts.askFileSystem(file.descriptor)
      return facts.fileSystem?.nature == .synthetic
    }
  }

  /// What was chosen and why. Built when asked; some microseconds.
  ///
  /// With scattered access it may change: reading turns into mapping once that has been shown to pay.
  public var decision: Decision {
    var now = plan
    if let change = late.change.withLock({ $0 }) { now = change }
    return Decision(now, facts, access)
  }

  /// Bytes in the file when it was opened. Nil for pipes and files of /proc until their end was seen.
  public var count: Int64? { stream.map(\.knownCount) ?? size }

  /// Lets go of the file and tells if that failed; the end of scope does the same silently.
  public consuming func close() throws(MappingError) {
    let path = self.path
    if let failure = owned.close() { throw MappingError(failure, .close, path: path) }
  }
}

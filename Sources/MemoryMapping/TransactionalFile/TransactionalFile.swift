// SPDX-License-Identifier: Apache-2.0

internal import CPlatform
public import SystemPackage

/// A file whose changes are all or nothing: change any bytes through a span, then ``commit(_:)`` makes all of them durable at once,
/// or ``rollback()`` forgets them.
///
/// ```swift
/// var accounts = try TransactionalFile("accounts.bin", creating: .ifMissing(size: 1 << 20))
/// try accounts.withTransaction { bytes in
///   bytes.storeBytes(of: Int64(-100), toByteOffset: 0, as: Int64.self)
///   bytes.storeBytes(of: Int64(100), toByteOffset: 4096, as: Int64.self)
/// }
/// ```
///
/// The file itself holds plain bytes, nothing else. Changes are made in private memory; a commit finds the changed bytes, writes
/// them with checksums to a journal beside the file (`NAME.pagewise-journal`) and syncs that: **the commit point**. Then they go
/// into the file, where readers see them. Whatever ends the process or the machine, the next open finds every acknowledged commit
/// whole and nothing of any other. The format is written down in `Journal.swift`.
///
/// **One writer.** Opening takes a lock that the kernel gives back when the process ends, however it ends (a child that it forked, and
/// that never called exec, keeps it until it ends, too); a second writer is refused (`busy`), and so is one that comes while a reader
/// finishes what a killed writer had begun. Readers of other processes use ``TransactionalReader``, which tells old from new; those who read the file by
/// other means can meet a commit half applied. Never change the file by other means, and never remove, rename or copy it without its
/// journal unless it was closed.
///
/// **Failures.** An error before the commit point leaves the transaction open, as if `commit` had not been called: free space and
/// commit again, or roll back. A failed sync, or a device that refuses a write, is final: the object refuses everything afterwards, and whether that commit happened
/// is known after the next open. Where `commit` returns, the commit is durable, also when bringing it into the file fails later.
///
/// **Limits.** Changed pages live in memory until they are committed. The file only grows; ``replaceFile(_:with:options:)`` makes a
/// shorter one. Not for network file systems.
///
/// Works on every file system with shared mappings, `rename` and `fsync`: tested on ext4, XFS, btrfs and tmpfs (where durable means
/// until the machine stops).
@safe
public struct TransactionalFile: ~Copyable, Sendable {
  // The order matters at the end: the mappings go before the descriptor.
  internal var view: PrivateView
  /// What the file holds, to compare with.
  internal var applied: MappedFile
  internal var journal: Journal
  internal let descriptor: OwnedDescriptor
  private let lock: WriterLock
  /// Where the file lies, without symbolic links.
  public let path: FilePath
  /// How it was opened.
  public let options: Options
  /// Bytes that the view has now: with those that the open transaction has added.
  public internal(set) var count: Int
  internal var committedCount: Int
  /// True between ``begin()`` and ``commit(_:)`` or ``rollback()``.
  public internal(set) var isInTransaction = false
  /// The newest commit, durable or not. 0 before the first one of the file's life.
  public internal(set) var generation: UInt64
  /// The newest commit that a power cut cannot take away.
  public internal(set) var durableGeneration: UInt64
  /// The newest commit that readers of the file see whole.
  public internal(set) var appliedGeneration: UInt64
  /// What opening the file found in the journal.
  public let recovery: Recovery
  /// Commits that are not in the file yet, oldest first.
  internal var pending: [Journal.Record] = []
  /// What they changed.
  internal var overlay = PageOverlay()
  /// Pages of the view that are copies of this process's own, as the last commit found them.
  internal var privatePages = 0
  /// The first failed sync; final.
  internal var failure: MappingError?

  /// How to open.
  public struct Options: Sendable, Hashable {
    /// Address space to reserve: what the file can grow to without being opened anew. Bytes; costs no memory. Where the process
    /// may not have as much, it gets what there is.
    public var maximumSize = 64 << 30
    /// The journal is emptied (``TransactionalFile/checkpoint()``) once it is longer than this. Bytes.
    public var journalLimit = 16 << 20
    /// Get the blocks for what a transaction adds to the file before its commit, so that a full disk is known then. False leaves
    /// holes where nothing was stored.
    public var reservesGrowth = true
    /// When commits go into the file.
    public var application = Application.atCommit
    /// What to do about commits in a journal that belongs to another file.
    public var strangeJournal = StrangeJournal.refuse

    public init() {}

    /// When commits go into the file, where readers see them.
    public enum Application: Sendable, Hashable {
      /// As part of each durable commit, behind the commit point.
      case atCommit
      /// At a ``TransactionalFile/checkpoint()`` or once the journal is full: bytes that change again and again are written once.
      /// Readers see the state of the last checkpoint.
      case atCheckpoint
    }

    /// A journal that was made for another file lies beside this one, with commits in it: one of the two was moved, copied or
    /// restored without the other.
    public enum StrangeJournal: Sendable, Hashable {
      /// Throw `corrupt`.
      case refuse
      /// The two were copied together: apply it.
      case replay
      /// The file is complete without it: forget it.
      case discard
    }
  }

  /// What opening a file found to do.
  public struct Recovery: Sendable, Hashable {
    /// Commits that were in the journal and were brought into the file again. 0 after a proper close.
    public let replayedCommits: Int
    /// The generation that the file had after it.
    public let generation: UInt64
  }

  /// How sure a commit has to be when it returns.
  public enum CommitDurability: Sendable, Hashable {
    /// On disk.
    case durable
    /// Atomic and in order, and durable with the next durable commit, ``sync()`` or ``close()``: many commits share one wait for
    /// the device. A power cut before it takes the youngest of them, never a part of one. Readers see them after it.
    case withNext
  }

  /// Opens a file for transactions, brings unfinished commits to their end, and takes the writer's lock.
  ///
  /// - Parameters:
  ///   - path: of a regular file with one name; symbolic links are followed.
  ///   - creation: whether to make the file.
  ///   - permissions: of a file that is made, before the umask. The journal gets those of the file.
  ///   - options: see ``Options``.
  /// - Throws: ``MappingError``: `busy` while another writer has it, `corrupt` when an acknowledged commit is damaged or the
  ///   journal is another file's, `truncated` when the file is shorter than it was committed, `noSpace` when a commit cannot be
  ///   brought into the file (it stays in the journal), and those of ``MutableMappedFile``.
  public init(
    _ path: FilePath, creating creation: MutableMappedFile.Creation = .never,
    permissions: FilePermissions = [.ownerReadWrite, .groupRead, .otherRead], options: Options = .init()
  ) throws(MappingError) {
    let file = try OpenedFile(
      writing: path, creating: creation, permissions: permissions, followsSymbolicLinks: true)
    let resolved = try path.resolvingLinks(.open)
    try Self.check(file, path: resolved)
    let lock = try WriterLock(file.descriptor, path: resolved)
    // Now that nobody else writes: the size.
    var now = pgw_stat()
    guard unsafe pgw_fstat(file.descriptor, &now) == 0 else { throw .last(.stat, path: resolved) }

    let subject = Journal.Subject(descriptor: file.descriptor, inode: now.inode)
    var journal = try Journal.open(
      path: Journal.path(of: resolved), of: file.descriptor, subject: subject, size: now.size, permissions: now.mode)
    let recovery = try Self.recover(
      file.descriptor, &journal, journal.header, subject, size: now.size, options: options, path: resolved)

    // A writer that was killed may have made the file or its journal and not come to this.
    try resolved.syncFolder(.open)
    guard unsafe pgw_fstat(file.descriptor, &now) == 0 else { throw .last(.stat, path: resolved) }
    guard let size = Int(exactly: now.size) else {
      throw MappingError(.addressSpaceExhausted, operation: .map, path: resolved, length: now.size)
    }
    let view = try PrivateView.map(file.descriptor, size: size, room: options.maximumSize, path: resolved)
    let applied = try Self.mapApplied(file.descriptor, size: size, path: resolved)
    self.recovery = recovery
    self.view = view
    self.applied = applied
    descriptor = OwnedDescriptor(number: file.take())
    self.lock = lock
    generation = journal.slot.generation
    durableGeneration = generation
    appliedGeneration = generation
    count = size
    committedCount = size
    self.journal = journal
    self.path = resolved
    self.options = options
  }

  private static func check(_ file: borrowing OpenedFile, path: FilePath) throws(MappingError) {
    _ = try MappedFile.mappableSize(of: file, path: path)
    guard file.kind == .regular else { throw MappingError(.unsupportedFileType, operation: .open, path: path) }
    guard file.stat.links == 1 else {
      throw MappingError(
        .notSupported, operation: .open, path: path,
        detail: .note("it has \(file.stat.links) names, and the journal is found by name"))
    }
  }

  internal static func mapApplied(_ descriptor: CInt, size: Int, path: FilePath) throws(MappingError) -> MappedFile {
    try MappedFile(
      OpenedFile(duplicating: descriptor, path: path), offset: 0, length: size, options: .init(), path: path)
  }

  /// True once a sync has failed, or the device has refused a write to the journal: every call throws `syncFailed` from then on.
  public var isPoisoned: Bool { failure != nil }

  /// The error that kept the last durable commit from getting into the file, while that is so. The commit is safe in the journal; it
  /// is tried again with each call that writes.
  public internal(set) var applicationError: MappingError?

  /// Bytes of the journal in use.
  public var journalSize: Int { Int(journal.end) }

  /// Rolls an open transaction back, makes every commit durable, brings all of them into the file, empties the journal and closes.
  ///
  /// Without it, at the end of scope, nothing is lost that was committed; the next open has the work.
  ///
  /// - Throws: ``MappingError`` when a commit could not be made durable or brought into the file. It is closed all the same.
  public consuming func close() throws(MappingError) {
    if isInTransaction { try rollback() }
    if failure == nil { try checkpoint() }
  }
}

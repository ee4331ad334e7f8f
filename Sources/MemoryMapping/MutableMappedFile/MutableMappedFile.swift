// SPDX-License-Identifier: Apache-2.0

internal import CPlatform
internal import Synchronization
public import SystemPackage

/// A range of a file, mapped for reading and writing.
///
/// With ``MappedFile/Options/Sharing/shared``, the default, a store is in the page cache at once: every process that has the
/// file sees it, and it survives the end of this process, however that comes. It is **not** on disk until the kernel writes
/// it back, which may be half a minute later and in any order; ``flush(_:_:)`` says when. Stores are never atomic: a power cut
/// can leave any mixture of old and new pages. For changes that must be whole use ``TransactionalFile``.
///
/// With `.private` the stores stay in this process (copy-on-write) and reach no file.
///
/// ```swift
/// var counters = try MutableMappedFile("counters.bin", creating: .ifMissing(size: 4096))
/// try counters.store(UInt64(1), at: 0)
/// try counters.flush(.data)
/// ```
///
/// **What can happen to you.** A store can meet a full disk, a failed device, or a file that somebody has cut. None of them
/// ends the process:
///
/// | call | what happens then |
/// |---|---|
/// | `store(_:at:)`, `copy(_:to:)` | throws; what could be stored before the lost page is stored, the mapping stays healthy |
/// | `withMutableBytes { }` | goes on with a replaced page, throws at the end; ``lostRanges()`` names what was lost |
/// | `reserve(_:)` before | the error comes first, see ``Reservation`` for how far that holds |
/// | `flush(_:_:)` after a loss | refuses, and names the loss |
///
/// C counterparts: `open`, `ftruncate`, `mmap`, `msync`, `fdatasync`, `fallocate`.
@safe
public struct MutableMappedFile: ~Copyable, Sendable {
  /// The mapping itself, with its reading half.
  @usableFromInline internal var map: MappedFile
  /// The errno of the first sync that failed; 0 while none has.
  internal let firstFailure: Atomic<CInt>
  /// Whoever uses this mapping has the file's lock already, by the same open file: a second taking would end in giving it back.
  internal var isLockedByOwner = false

  /// Whether the file is made when there is none.
  public enum Creation: Sendable, Hashable {
    /// The file must be there.
    case never
    /// Makes it with `size` bytes of zeros when there is none, and gives an empty one that size. Any other is taken as it is.
    case ifMissing(size: Int64)
    /// Makes it with `size` bytes of zeros; refused (`alreadyExists`) when there is one. C: `O_EXCL`.
    case exclusive(size: Int64)
  }

  /// Maps the file at `path` for writing.
  ///
  /// - Parameters:
  ///   - path: any bytes but NUL.
  ///   - creation: whether to make the file. Its name is durable when this returns (the folder is synced), its blocks are
  ///     not allocated: see ``reserve(_:)``.
  ///   - permissions: of a file that is made, before the umask.
  ///   - offset: first byte, from the start of the file; need not be aligned.
  ///   - length: bytes; nil for all up to the end.
  ///   - options: ``MappedFile/Options``. `.sealed`, `.lease` and `.snapshot` are for readers and are refused here.
  /// - Throws: ``MappingError`` as ``MappedFile/init(_:offset:length:options:)``, and `alreadyExists`, `readOnly`, `noSpace`,
  ///   `limitExceeded` (larger than RLIMIT_FSIZE or the file system allows).
  public init(
    _ path: FilePath, creating creation: Creation = .never,
    permissions: FilePermissions = [.ownerReadWrite, .groupRead, .otherRead],
    offset: Int64 = 0, length: Int? = nil, options: MappedFile.Options = .init()
  ) throws(MappingError) {
    try Self.check(options, path: path)
    let file = try OpenedFile(
      writing: path, creating: creation, permissions: permissions,
      followsSymbolicLinks: options.followsSymbolicLinks)
    // A file that was made for a mapping that then fails is taken away again.
    let witness = file.wasMade ? try file.makeWitness(path: path) : nil
    do throws(MappingError) {
      map = try MappedFile(file, offset: offset, length: length, options: options, path: path, protection: 3)
    } catch {
      if let witness { OpenedFile.takeAway(witness.number, path: path) }
      throw error
    }
    firstFailure = Atomic(0)
  }

  /// Maps an open file for writing. The descriptor is duplicated; the caller's own stays the caller's.
  ///
  /// - Parameters:
  ///   - descriptor: open for reading and writing; for reading alone with `.private`.
  ///   - offset: first byte, from the start of the file.
  ///   - length: bytes; nil for all up to the end.
  ///   - options: as for ``init(_:creating:permissions:offset:length:options:)``.
  ///   - path: for error messages only.
  /// - Throws: ``MappingError``; `permissionDenied` when the descriptor is not open for writing.
  public init(
    descriptor: FileDescriptor, offset: Int64 = 0, length: Int? = nil, options: MappedFile.Options = .init(),
    path: FilePath? = nil
  ) throws(MappingError) {
    try Self.check(options, path: path)
    let file = try OpenedFile(duplicating: descriptor.rawValue, path: path)
    try self.init(file, offset: offset, length: length, options: options, path: path)
  }

  internal init(
    _ file: consuming OpenedFile, offset: Int64, length: Int?, options: MappedFile.Options, path: FilePath?
  ) throws(MappingError) {
    map = try MappedFile(file, offset: offset, length: length, options: options, path: path, protection: 3)
    firstFailure = Atomic(0)
  }

  private static func check(_ options: MappedFile.Options, path: FilePath?) throws(MappingError) {
    guard options.stability == .none else {
      throw MappingError(
        .notSupported, operation: .map, path: path, detail: .note("a promise of stability is for readers"))
    }
    guard options.keepsDescriptor else {
      throw MappingError(
        .notSupported, operation: .map, path: path, detail: .note("writing needs the descriptor, for sync and errors"))
    }
  }

  /// Bytes in the view.
  public var count: Int { map.count }
  /// True for a view without bytes.
  public var isEmpty: Bool { map.count == 0 }
  /// Where in the file the view begins, in bytes.
  public var fileOffset: Int64 { map.fileOffset }
  /// The path it was opened by, if any.
  public var path: FilePath? { map.path }
  /// How it was mapped.
  public var options: MappedFile.Options { map.options }
  /// The loss that the mapping has met, or nil while it is healthy. Sticky until ``recover()``.
  public var fault: MappingFault? { map.fault }
  /// The mark that the first lost page raises.
  public var faultFlag: FaultFlag { map.faultFlag }
  /// True once a sync of this object has failed, or has found that an earlier write-back did. Final: see ``flush(_:_:)``.
  public var isPoisoned: Bool { firstFailure.load(ordering: .relaxed) != 0 }

  /// Unmaps and closes, and tells if that failed; the end of scope does the same silently. Neither writes anything back: call
  /// ``flush(_:_:)`` before, where it matters.
  ///
  /// - Throws: ``MappingError`` as `munmap` and `close` refuse.
  public consuming func close() throws(MappingError) { try map.close() }
}

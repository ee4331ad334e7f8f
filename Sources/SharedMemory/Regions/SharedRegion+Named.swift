// SPDX-License-Identifier: Apache-2.0
//
// Names. A region's file is built without a name and then linked, so nobody sees one that is half made. Three rules keep names and use
// apart without a daemon:
//
//   1. Whoever is attached holds the lock `PeerTable.attachedLock` together with all others.
//   2. A name is taken away only by one who holds that lock alone: the kernel then says that nobody is attached.
//   3. Whoever has opened and locked a file asks whether the name still means it (links, inode), and begins again when not.

internal import CPlatform
internal import MemoryMapping
internal import SystemPackage

extension SharedRegion {
  /// What to do when there is a region of the name already.
  public enum Leftover: Sendable, Hashable {
    /// `alreadyExists`, whoever uses it.
    case refuse
    /// Replaces it when the kernel proves that nobody is attached to it; `alreadyExists` otherwise.
    case replaceUnused
  }

  /// Makes a region with a name, for peers of the same user.
  ///
  /// - Parameters:
  ///   - layout: its parts.
  ///   - name: 1 to 200 letters, digits, `-`, `_` and `.`.
  ///   - leftover: what to do with a region of this name that is there.
  ///   - folder: where it is found.
  ///   - label: what others see this peer as; the program's name by default.
  /// - Throws: ``SharedMemoryError``: `alreadyExists`, `insecureFolder`, `noSpace`, `invalidArgument`, `notSupported` where the file system has no
  ///   unnamed files.
  public init(
    creating layout: RegionLayout, named name: String, leftover: Leftover = .replaceUnused,
    in folder: RuntimeFolder = .standard,
    label: String? = nil
  ) throws(SharedMemoryError) {
    let fileName = try RuntimeFolder.fileName(name, "create")
    let open = try folder.open(making: true, "create")
    let file = OwnedDescriptor(number: pgw_open_unnamed_in(open.number))
    guard file.number >= 0 else { throw .last("create", region: name) }
    try RegionBuilder.build(layout, in: file.number, name: name)
    let number = file.number
    let label = label ?? Self.programName
    // Attached before it has its name: nobody can find it unused in between.
    let storage = try RegionStorage(attaching: file, name: name, canWrite: true, label: label)
    KillPoints.pass("region.create.link")
    while unsafe pgw_link_unnamed(number, open.number, fileName) != 0 {
      let errno = Errno.current
      guard errno == .fileExists else {
        throw SharedMemoryError(SharedMemoryError.code(of: errno), "create", region: name, errno: errno)
      }
      guard leftover == .replaceUnused, try Self.removeUnused(fileName, in: open.number, name: name) != .inUse else {
        throw SharedMemoryError(.alreadyExists, "create", region: name)
      }
    }
    self.init(storage, label: label)
  }

  /// Takes part in a region that another process of this user has made with a name.
  ///
  /// - Throws: ``SharedMemoryError``: `notFound`, `insecureFolder`, `notARegion`, `versionUnsupported`, `damaged`, `peersExhausted`,
  ///   `permissionDenied` after ``demote()``.
  public init(named name: String, in folder: RuntimeFolder = .standard, label: String? = nil) throws(SharedMemoryError)
  {
    let label = label ?? Self.programName
    self.init(try Self.open(named: name, in: folder, canWrite: true, label: label), label: label)
  }

  internal static func open(
    named name: String, in folder: RuntimeFolder, canWrite: Bool, label: String
  ) throws(SharedMemoryError) -> RegionStorage {
    let fileName = try RuntimeFolder.fileName(name, "open")
    let open: OwnedDescriptor
    do throws(SharedMemoryError) { open = try folder.open(making: false, "open") } catch {
      // Without the folder there is no region either.
      throw error.code == .notFound ? SharedMemoryError(.notFound, "open", region: name, errno: error.errno) : error
    }
    while true {
      let file = OwnedDescriptor(number: unsafe pgw_open_in(open.number, fileName, canWrite))
      guard file.number >= 0 else { throw .last("open", region: name) }
      let number = file.number
      KillPoints.pass("region.open.opened")
      try checkKind(number, name)
      let storage = try RegionStorage(attaching: file, name: name, canWrite: canWrite, label: label)
      // Rule 3. The lock is held, so from here on nobody takes the name away.
      if try means(fileName, in: open.number, number, name) { return storage }
    }
  }

  private static func checkKind(_ file: CInt, _ name: String) throws(SharedMemoryError) {
    var found = pgw_stat()
    guard unsafe pgw_fstat(file, &found) == 0 else { throw .last("open", region: name) }
    guard found.mode & 0o170000 == 0o100000 else {
      throw SharedMemoryError(.notARegion, "open", region: name, note: "it is not a regular file")
    }
  }

  /// Whether the name still means the open file.
  internal static func means(_ fileName: String, in folder: CInt, _ file: CInt, _ name: String)
    throws(SharedMemoryError) -> Bool
  {
    var own = pgw_stat()
    var named = pgw_stat()
    guard unsafe pgw_fstat(file, &own) == 0 else { throw .last("open", region: name) }
    guard unsafe pgw_stat_at(folder, fileName, false, &named) == 0 else {
      if Errno.current == .noSuchFileOrDirectory { return false }
      throw .last("open", region: name)
    }
    return own.inode == named.inode && own.device == named.device
  }

  internal enum Removal { case removed, inUse, isGone }

  /// Takes the name of a region away that nobody is attached to, by the kernel's proof.
  internal static func removeUnused(_ fileName: String, in folder: CInt, name: String) throws(SharedMemoryError)
    -> Removal
  {
    var opened = unsafe pgw_open_in(folder, fileName, true)
    if opened < 0, Errno.current == .permissionDenied {
      // Demoted. The exclusive lock needs a file that is open for writing, and so does nobody else while nobody is attached.
      let demoted = OwnedDescriptor(number: unsafe pgw_open_in(folder, fileName, false))
      if demoted.number >= 0, pgw_token_is_held(demoted.number, PeerTable.attachedLock) != 0 { return .inUse }
      guard pgw_set_mode(demoted.number, 0o600) == 0 else { throw .last("remove", region: name) }
      opened = unsafe pgw_open_in(folder, fileName, true)
      // It stays demoted should it be in use after all.
      _ = pgw_set_mode(demoted.number, 0o400)
    }
    let file = OwnedDescriptor(number: opened)
    guard file.number >= 0 else {
      if Errno.current == .noSuchFileOrDirectory { return .isGone }
      throw .last("remove", region: name)
    }
    KillPoints.pass("region.remove.opened")
    guard pgw_token_lock(file.number, PeerTable.attachedLock, true) == 0 else {
      if Errno.current == .resourceTemporarilyUnavailable { return .inUse }
      throw .last("remove", region: name)
    }
    KillPoints.pass("region.remove.locked")
    // What is no region, or one of another version, is nobody's leftover that we know of.
    try checkKind(file.number, name)
    do throws(SharedMemoryError) { _ = try RegionStorage.readHeader(file.number, name: name) } catch {
      guard error.code == .damaged else { throw error }
    }
    // Another one may have removed it, and a third one made a new one of the name, before the lock was ours.
    guard try means(fileName, in: folder, file.number, name) else { return .isGone }
    KillPoints.pass("region.remove.unlink")
    guard unsafe pgw_unlink_in(folder, fileName) == 0 else { throw .last("remove", region: name) }
    return .removed
  }

  /// Takes a region's name away. Whoever is attached goes on with it; its memory is given back when the last one is gone.
  ///
  /// - Parameters:
  ///   - name: of the region.
  ///   - folder: where it is.
  ///   - isForced: also while somebody is attached.
  /// - Throws: ``SharedMemoryError``: `notFound`; `inUse` unless `isForced`.
  public static func remove(named name: String, in folder: RuntimeFolder = .standard, isForced: Bool = false)
    throws(SharedMemoryError)
  {
    let fileName = try RuntimeFolder.fileName(name, "remove")
    let open = try folder.open(making: false, "remove")
    if isForced {
      guard unsafe pgw_unlink_in(open.number, fileName) == 0 else { throw .last("remove", region: name) }
      return
    }
    switch try removeUnused(fileName, in: open.number, name: name) {
    case .removed: return
    case .isGone: throw SharedMemoryError(.notFound, "remove", region: name)
    case .inUse: throw SharedMemoryError(.inUse, "remove", region: name)
    }
  }
}

extension SharedRegionReader {
  /// Looks at a region that has a name.
  ///
  /// - Throws: as ``SharedRegion/init(named:in:label:)``.
  public init(named name: String, in folder: RuntimeFolder = .standard) throws(SharedMemoryError) {
    self.init(try SharedRegion.open(named: name, in: folder, canWrite: false, label: ""))
  }
}

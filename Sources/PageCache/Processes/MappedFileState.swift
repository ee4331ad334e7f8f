// SPDX-License-Identifier: Apache-2.0

internal import CPlatform
package import MemoryMapping
package import SystemPackage

extension ProcessMapping {
  /// The link in /proc that stands for exactly the mapped file, whatever happened to its name. To follow it needs
  /// CAP_SYS_ADMIN or CAP_CHECKPOINT_RESTORE.
  package func place(in folder: ProcessFolder) -> FilePath? {
    FilePath("\(folder.mapFiles)/\(addresses.hexadecimal)")
  }
}

extension Range<UInt64> {
  /// As the kernel writes it: `7f0012345000-7f0012346000`.
  package var hexadecimal: String { "\(String(lowerBound, radix: 16))-\(String(upperBound, radix: 16))" }
}

/// What a mapping shows, and what stands at its path now.
package struct MappedFileState: Sendable, Hashable {
  /// Bytes of the mapped file.
  package var size: Int64
  /// Bytes of it that have storage.
  package var allocated: Int64
  /// Names that it has left.
  package var links: UInt32
  package var inode: UInt64
  package var isRegular: Bool
  package var naming: Naming
  package var fileSystem: FileSystemKind?
  /// Bytes that the file system has left for this file's writers.
  package var free: Int64?
  /// Bytes that the file system has in all.
  package var capacity: Int64?

  /// Whether the mapped file is the one at its path.
  package enum Naming: Sendable, Hashable {
    /// It is.
    case present
    /// Nothing is there.
    case deleted
    /// Another file is.
    case replaced
    /// It could not be found out: the path is another one for this process than for the one that maps it, or not readable.
    case unknown
  }

}

extension MappedFileState {
  /// Looks at the mapped file itself, or at the file at its path when that has the same inode.
  ///
  /// - Returns: nil when neither can be had.
  package init?(of mapping: ProcessMapping, in folder: ProcessFolder) {
    let named = mapping.path.map { Self.place($0, in: folder) }
    // A file whose own name ends in the mark of a deleted one.
    let marked = mapping.isDeleted ? named.map { Self.appendingMark($0) } : nil
    guard let exact = Place.of(mapping, in: folder, names: [marked, named]) else { return nil }
    self.init(exact)
    guard let named else {
      naming = .unknown
      return
    }
    if let marked, let other = Place(marked), other.isSame(exact) {
      naming = .present
      return
    }
    var there = pgw_stat()
    if unsafe named.withPlatformString({ unsafe pgw_stat_unsynced($0, &there) }) == 0 {
      let isSame = there.device == exact.stat.device && there.inode == exact.stat.inode
      // Another file under a name that was not taken away: something is mounted over it, or the roots differ.
      naming = isSame ? .present : mapping.isDeleted ? .replaced : .unknown
    } else {
      let reason = MappingError.currentErrno
      naming = reason == .noSuchFileOrDirectory && mapping.isDeleted ? .deleted : .unknown
    }
  }

  /// What stands at a path now, for mappings of a process that is gone: see ``Naming`` for what `mapping` tells of it.
  package init?(at path: FilePath) {
    guard let place = Place(path) else { return nil }
    self.init(place)
  }

  private init(_ place: borrowing Place) {
    size = max(0, place.stat.size)
    // A file system in a program can say anything.
    allocated = max(0, place.stat.allocated)
    links = place.stat.links
    inode = place.stat.inode
    isRegular = EntryKind(mode: place.stat.mode) == .regular
    naming = .present
    var found = pgw_filesystem()
    if unsafe pgw_fstatfs(place.number, &found) == 0 {
      fileSystem = FileSystemKind(magic: found.type)
      free = Int64(clamping: found.free_bytes)
      capacity = Int64(clamping: found.total_bytes)
    }
  }

  /// A path as the process sees it: below its own root.
  package static func place(_ path: FilePath, in folder: ProcessFolder) -> FilePath {
    FilePath(folder.path("root")).pushing(path.removingRoot())
  }

  private static func appendingMark(_ path: FilePath) -> FilePath {
    unsafe path.withPlatformString { start in
      var bytes: [CChar] = []
      var at = 0
      while unsafe start[at] != 0 {
        bytes.append(unsafe start[at])
        at += 1
      }
      bytes += ProcessMapping.deletedMark.map { CChar(bitPattern: $0) } + [0]
      return unsafe bytes.withUnsafeBufferPointer { unsafe FilePath(platformString: $0.baseAddress!) }
    }
  }

  /// Bytes of a range of the mapped file that have no storage yet, so that a store there needs some; nil when that is not known.
  ///
  /// - Parameters:
  ///   - mapping: one of the file.
  ///   - range: bytes of the file.
  package func unbacked(_ range: Range<Int64>, _ mapping: ProcessMapping, in folder: ProcessFolder) -> Int64? {
    let range = range.clamped(to: 0..<max(0, size))
    guard isRegular, allocated < size, !range.isEmpty else { return 0 }
    let missing = min(size - allocated, Int64(range.count))
    // Only what is local is opened for that.
    guard fileSystem?.nature == .local else { return missing }
    for path in [mapping.place(in: folder), mapping.path.map({ Self.place($0, in: folder) })] {
      guard let path, let place = Place(path), place.stat.size == size else { continue }
      let file = pgw_reopen_place(place.number)
      guard file >= 0 else { continue }
      defer { _ = pgw_close(file) }
      let found = pgw_bytes_without_blocks(file, range.lowerBound, Int64(range.count))
      if found >= 0 { return found }
    }
    // tmpfs and others do not tell where the holes are.
    return missing
  }

  /// An open place, without its content.
  private struct Place: ~Copyable {
    let number: CInt
    let stat: pgw_stat

    init?(_ path: FilePath) {
      let opened = unsafe path.withPlatformString { unsafe pgw_open_place($0) }
      guard opened >= 0 else { return nil }
      var found = pgw_stat()
      guard unsafe pgw_fstat(opened, &found) == 0 else {
        _ = pgw_close(opened)
        return nil
      }
      number = opened
      stat = found
    }

    deinit { _ = pgw_close(number) }

    /// The mapped file by its own link, or at a path where the same inode is.
    static func of(_ mapping: ProcessMapping, in folder: ProcessFolder, names: [FilePath?]) -> Place? {
      if let path = mapping.place(in: folder), let place = Place(path) { return place }
      for case let path? in names {
        if let place = Place(path), place.matches(mapping) { return place }
      }
      return nil
    }

    func isSame(_ other: borrowing Place) -> Bool {
      stat.device == other.stat.device && stat.inode == other.stat.inode
    }

    /// By inode; the device only where lists of mappings have the same one.
    func matches(_ mapping: ProcessMapping) -> Bool {
      stat.inode == mapping.inode
        && (stat.device == mapping.device || HeldFileIndex.isMadeUp(stat.device)
          || HeldFileIndex.isMadeUp(mapping.device))
    }
  }
}

// SPDX-License-Identifier: Apache-2.0

internal import CPlatform
internal import SystemPackage

#if canImport(Glibc)
  internal import Glibc
#elseif canImport(Musl)
  internal import Musl
#elseif canImport(Darwin)
  internal import Darwin
#endif

extension OpenedFile {
  /// Opens for reading and writing, and makes the file if asked to. A file that was made is durable by name and has its size.
  internal init(
    writing path: FilePath, creating creation: MutableMappedFile.Creation, permissions: FilePermissions,
    followsSymbolicLinks: Bool
  ) throws(MappingError) {
    let size: Int64?
    let isExclusive: Bool
    switch creation {
    case .never: (size, isExclusive) = (nil, false)
    case .ifMissing(let wanted): (size, isExclusive) = (wanted, false)
    case .exclusive(let wanted): (size, isExclusive) = (wanted, true)
    }
    if let size, size < 0 { throw MappingError(.invalidRange, operation: .create, path: path, length: size) }
    // O_NONBLOCK: a FIFO must not hang.
    var flags = O_RDWR | O_NONBLOCK | O_NOCTTY
    if !followsSymbolicLinks { flags |= O_NOFOLLOW }
    // Between the two attempts somebody may make the file, or take it away; hardly ever for long.
    for _ in 0..<100 {
      if !isExclusive, let file = try Self.openThere(path, flags, size: size) {
        self = file
        return
      }
      let mode = CInt(permissions.rawValue)
      let made = unsafe path.withPlatformString { unsafe pgw_storage_open($0, flags | O_CREAT | O_EXCL, mode) }
      if made >= 0 {
        self = try Self.finish(made, size: size ?? 0, path: path)
        return
      }
      let error = MappingError.last(.create, path: path)
      guard error.code == .alreadyExists, !isExclusive else { throw error }
      if path.isLinkToNothing {
        throw MappingError(
          .notFound, operation: .create, path: path, detail: .note("a symbolic link whose target is missing"))
      }
    }
    throw MappingError(.busy, operation: .create, path: path)
  }

  /// A file that is there; an empty one is given the size, as its maker may be about to do. Nil when there is none and one may be
  /// made: it is missing, or was taken away by a maker who failed.
  private static func openThere(_ path: FilePath, _ flags: CInt, size: Int64?) throws(MappingError) -> OpenedFile? {
    let opened = unsafe path.withPlatformString { unsafe pgw_storage_open($0, flags, 0) }
    guard opened >= 0 else {
      let error = MappingError.last(.open, path: path)
      guard error.code == .notFound, size != nil else { throw error }
      return nil
    }
    let file = try OpenedFile(owning: opened, path: path)
    guard let size, size > 0, file.kind == .regular, file.stat.size == 0 else { return file }
    try give(size, to: file.descriptor, path: path)
    let sized = try OpenedFile(owning: file.take(), path: path)
    guard sized.stat.links > 0 else { return nil }
    return sized
  }

  /// A file that was made: the name, then the size, so that who finds a size finds a name that lasts. On failure it is taken away
  /// again.
  private static func finish(_ descriptor: CInt, size: Int64, path: FilePath) throws(MappingError) -> OpenedFile {
    var now = pgw_stat()
    do throws(MappingError) {
      try path.syncFolder(.create)
      try give(size, to: descriptor, path: path)
      guard unsafe pgw_storage_fstat(descriptor, &now) == 0 else { throw .last(.stat, path: path) }
    } catch {
      takeAway(descriptor, path: path)
      _ = pgw_close(descriptor)
      throw error
    }
    return OpenedFile(made: descriptor, stat: now)
  }

  /// Gives an empty file its size. One at a time: two sizes in turn would cut what was stored behind the smaller one.
  private static func give(_ size: Int64, to descriptor: CInt, path: FilePath) throws(MappingError) {
    guard size > 0 else { return }
    let isLocked = try awaitLock(of: descriptor, .create, path: path)
    defer { if isLocked { _ = pgw_storage_unlock(descriptor) } }
    var now = pgw_stat()
    guard unsafe pgw_storage_fstat(descriptor, &now) == 0 else { throw .last(.create, path: path) }
    guard now.size == 0 else { return }
    guard pgw_storage_truncate(descriptor, size) == 0 else { throw .last(.create, path: path, length: size) }
  }

  /// Takes the lock under which the size of a file changes. False where the file system has none.
  internal static func awaitLock(
    of descriptor: CInt, _ operation: MappingError.Operation, path: FilePath?
  ) throws(MappingError) -> Bool {
    for _ in 0..<1000 {
      if pgw_storage_lock(descriptor) == 0 { return true }
      switch Errno.current {
      case .resourceTemporarilyUnavailable, .permissionDenied: pgw_sleep_ns(1_000_000)
      case .noLocks, .notSupported, .noFunction, .invalidArgument: return false
      default: throw .last(operation, path: path)
      }
    }
    throw MappingError(.busy, operation: operation, path: path, detail: .note("another program holds its lock"))
  }

  /// A second descriptor of a file that was made, by which it can be taken away when the first is gone.
  internal borrowing func makeWitness(path: FilePath) throws(MappingError) -> OwnedDescriptor {
    let copy = fcntl(descriptor, F_DUPFD_CLOEXEC, 0)
    guard copy >= 0 else {
      let error = MappingError.last(.open, path: path)
      Self.takeAway(descriptor, path: path)
      throw error
    }
    return OwnedDescriptor(number: copy)
  }

  /// Removes a file that was made in vain, unless it is not the one at `path` any more or somebody else has begun to use it.
  internal static func takeAway(_ descriptor: CInt, path: FilePath) {
    let isLocked = (try? awaitLock(of: descriptor, .create, path: path)) ?? false
    defer { if isLocked { _ = pgw_storage_unlock(descriptor) } }
    var own = pgw_stat()
    var named = pgw_stat()
    guard unsafe pgw_fstat(descriptor, &own) == 0,
      unsafe path.withPlatformString({ unsafe pgw_stat_path($0, true, &named) }) == 0,
      own.inode == named.inode, own.device == named.device,
      own.size == 0 || pgw_storage_is_alone(descriptor) != 0
    else { return }
    _ = unsafe path.withPlatformString { unsafe pgw_storage_unlink($0) }
  }
}

extension FilePath {
  /// The folder that holds the name.
  internal var folder: FilePath {
    let folder = removingLastComponent()
    return folder.isEmpty ? FilePath(".") : folder
  }

  /// Makes the names in the file's folder durable.
  internal func syncFolder(_ operation: MappingError.Operation) throws(MappingError) {
    guard unsafe folder.withPlatformString({ unsafe pgw_storage_sync_folder($0) }) == 0 else {
      throw .last(operation, path: self)
    }
  }
}

extension FilePath {
  /// The path with `suffix` behind its last name.
  internal func appending(suffix: String) -> FilePath {
    guard let name = lastComponent else { return self }
    // Through the platform's characters: a name may be no UTF-8.
    var whole = unsafe name.withPlatformString { unsafe Array(UnsafeBufferPointer(start: $0, count: strlen($0))) }
    whole += suffix.utf8.map { CInterop.PlatformChar(truncatingIfNeeded: $0) } + [0]
    let renamed = unsafe whole.withUnsafeBufferPointer { unsafe FilePath.Component(platformString: $0.baseAddress!) }
    return removingLastComponent().appending(renamed ?? name)
  }

  /// True for a symbolic link whose target is not there.
  internal var isLinkToNothing: Bool {
    var found = pgw_stat()
    return unsafe withPlatformString {
      unsafe pgw_stat_path($0, true, &found) != 0 && Errno.current == .noSuchFileOrDirectory
        && pgw_stat_path($0, false, &found) == 0 && OpenedFile.kind(of: found.mode) == .symbolicLink
    }
  }

  /// The same file by a path without symbolic links, so that what lies beside it is found by every name.
  internal func resolvingLinks(_ operation: MappingError.Operation) throws(MappingError) -> FilePath {
    let resolved = unsafe withPlatformString { unsafe pgw_real_path($0) }
    guard let resolved = unsafe resolved else { throw .last(operation, path: self) }
    defer { unsafe free(resolved) }
    return unsafe FilePath(platformString: resolved)
  }
}

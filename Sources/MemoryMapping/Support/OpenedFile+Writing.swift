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
      if !isExclusive {
        let opened = unsafe path.withPlatformString { unsafe pgw_storage_open($0, flags, 0) }
        if opened >= 0 {
          let file = try OpenedFile(owning: opened, path: path)
          self = try file.givingSize(size, path: path)
          return
        }
        let error = MappingError.last(.open, path: path)
        guard error.code == .notFound, size != nil else { throw error }
      }
      let mode = CInt(permissions.rawValue)
      let made = unsafe path.withPlatformString { unsafe pgw_storage_open($0, flags | O_CREAT | O_EXCL, mode) }
      if made >= 0 {
        self = try Self.finish(made, size: size ?? 0, path: path)
        return
      }
      let error = MappingError.last(.create, path: path)
      guard error.code == .alreadyExists, !isExclusive else { throw error }
    }
    throw MappingError(.busy, operation: .create, path: path)
  }

  /// A file that was found: an empty one gets the size, as its maker may be about to give it.
  private consuming func givingSize(_ size: Int64?, path: FilePath) throws(MappingError) -> OpenedFile {
    guard let size, size > 0, kind == .regular, stat.size == 0 else { return self }
    guard pgw_storage_truncate(descriptor, size) == 0 else { throw .last(.create, path: path, length: size) }
    return try OpenedFile(owning: take(), path: path)
  }

  /// A file that was made: size, then the name. On failure it is taken away again.
  private static func finish(_ descriptor: CInt, size: Int64, path: FilePath) throws(MappingError) -> OpenedFile {
    if size == 0 || pgw_storage_truncate(descriptor, size) == 0 {
      do throws(MappingError) {
        try path.syncFolder(.create)
        return try OpenedFile(owning: descriptor, path: path)
      } catch {
        _ = unsafe path.withPlatformString { unsafe pgw_storage_unlink($0) }
        throw error
      }
    }
    let error = MappingError.last(.create, path: path, length: size)
    _ = unsafe path.withPlatformString { unsafe pgw_storage_unlink($0) }
    _ = pgw_close(descriptor)
    throw error
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

  /// The same file by a path without symbolic links, so that what lies beside it is found by every name.
  internal func resolvingLinks(_ operation: MappingError.Operation) throws(MappingError) -> FilePath {
    let resolved = unsafe withPlatformString { unsafe pgw_real_path($0) }
    guard let resolved = unsafe resolved else { throw .last(operation, path: self) }
    defer { unsafe free(resolved) }
    return unsafe FilePath(platformString: resolved)
  }
}

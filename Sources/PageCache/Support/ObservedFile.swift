// SPDX-License-Identifier: Apache-2.0

package import CPlatform
package import MemoryMapping
package import SystemPackage

#if canImport(Glibc)
  internal import Glibc
#elseif canImport(Musl)
  internal import Musl
#elseif canImport(Darwin)
  internal import Darwin
#endif

/// A descriptor that reads without moving the file's access time, where this user may ask for that.
package struct ObservedFile: ~Copyable {
  package let number: CInt

  package var descriptor: FileDescriptor { FileDescriptor(rawValue: number) }

  package init(_ path: FilePath) throws(MappingError) {
    let opened = unsafe path.withPlatformString { unsafe pgw_open_unnoticed($0) }
    guard opened >= 0 else { throw .failed(.open, path) }
    number = opened
  }

  /// Takes over a descriptor.
  package init(owning number: CInt) { self.number = number }

  deinit { _ = pgw_close(number) }

  /// The same opening under a second number.
  package borrowing func duplicate(_ path: FilePath?) throws(MappingError) -> ObservedFile {
    let copy = fcntl(number, F_DUPFD_CLOEXEC, 0)
    guard copy >= 0 else { throw .failed(.open, path ?? "") }
    return ObservedFile(owning: copy)
  }

  /// Gives the descriptor to a new owner.
  package consuming func take() -> CInt {
    let taken = number
    discard self
    return taken
  }

  package borrowing func stat(_ path: FilePath) throws(MappingError) -> pgw_stat {
    var found = pgw_stat()
    guard unsafe pgw_fstat(number, &found) == 0 else { throw .failed(.stat, path) }
    return found
  }

  /// The same of a file that was a regular one when its path was looked at.
  ///
  /// - Throws: `changed` when something else has taken its place since, and what `fstat` says.
  package borrowing func regularStat(
    _ path: FilePath, _ operation: MappingError.Operation
  ) throws(MappingError) -> pgw_stat {
    let found = try stat(path)
    guard EntryKind(mode: found.mode) == .regular else {
      throw MappingError(.changed, operation: operation, path: path)
    }
    return found
  }

  /// The file system it lies on; nil when the kernel does not say.
  package var fileSystem: FileSystemKind? { FileSystemKind(of: number) }

  /// Fills `target` from `offset`; an early end of the file is `truncated`.
  @inline(__always)
  package borrowing func read(
    _ offset: Int64, into target: UnsafeMutableRawPointer, count: Int, path: FilePath
  ) throws(MappingError) {
    var done = 0
    while done < count {
      let got = unsafe pgw_pread(number, target + done, count - done, offset + Int64(done))
      if got <= 0 { throw readError(got, at: offset + Int64(done), count: count - done, path) }
      done += got
    }
  }

  @inline(never)
  private borrowing func readError(_ got: Int, at offset: Int64, count: Int, _ path: FilePath) -> MappingError {
    if got < 0 { return .failed(.read, path, offset: offset, length: Int64(count)) }
    var now = pgw_stat()
    let size = unsafe pgw_fstat(number, &now) == 0 ? now.size : offset
    return MappingError(
      .truncated, operation: .read, path: path, offset: offset, length: Int64(count), detail: .fileSize(size))
  }
}

/// What stands at a path, found out without opening it: to open a device can already do something.
package enum EntryKind: Sendable {
  case regular, directory, fifo, socket, characterDevice, blockDevice, symbolicLink, other

  package init(mode: UInt32) {
    self =
      switch mode_t(truncatingIfNeeded: mode) & S_IFMT {
      case S_IFREG: .regular
      case S_IFDIR: .directory
      case S_IFIFO: .fifo
      case S_IFSOCK: .socket
      case S_IFCHR: .characterDevice
      case S_IFBLK: .blockDevice
      case S_IFLNK: .symbolicLink
      default: .other
      }
  }

  /// With its article, for sentences.
  package var words: String {
    switch self {
    case .regular: "a regular file"
    case .directory: "a directory"
    case .fifo: "a FIFO"
    case .socket: "a socket"
    case .characterDevice: "a character device"
    case .blockDevice: "a block device"
    case .symbolicLink: "a symbolic link"
    case .other: "a special file"
    }
  }

  /// What stands at a path that must be a regular file or a folder.
  ///
  /// - Throws: `unsupportedFileType` for anything else, and what `stat` says.
  package static func fileOrFolder(
    _ path: FilePath, _ operation: MappingError.Operation
  ) throws(MappingError) -> EntryKind {
    let kind = EntryKind(mode: try stat(path, follows: true).mode)
    guard kind == .regular || kind == .directory else {
      throw MappingError(
        .unsupportedFileType, operation: operation, path: path,
        detail: .advice("it is \(kind.words)", remedy: "Give a regular file or a folder."))
    }
    return kind
  }

  package static func stat(_ path: FilePath, follows: Bool) throws(MappingError) -> pgw_stat {
    var found = pgw_stat()
    guard unsafe path.withPlatformString({ unsafe pgw_stat_path($0, follows, &found) }) == 0 else {
      throw .failed(.stat, path)
    }
    return found
  }
}

extension MappingError {
  /// The error of a call that just failed. Reads the thread's errno.
  @inline(never)
  package static func failed(
    _ operation: Operation, _ path: FilePath, offset: Int64? = nil, length: Int64? = nil, reason: Errno? = nil
  ) -> MappingError {
    let reason = reason ?? currentErrno
    let code: Code =
      switch reason {
      case .noSuchFileOrDirectory: .notFound
      case .permissionDenied, .notPermitted: .permissionDenied
      case .tooManySymbolicLinkLevels: .symbolicLink
      case .notDirectory, .fileNameTooLong: .pathInvalid
      case .tooManyOpenFiles, .tooManyOpenFilesInSystem: .tooManyOpenFiles
      case .isDirectory: .isDirectory
      case .noMemory: .memoryExhausted
      case .noSpace, .diskQuotaExceeded: .noSpace
      case .readOnlyFileSystem: .readOnly
      case .ioError: .inputOutput
      case .staleNFSFileHandle: .stale
      case .noSuchAddressOrDevice, .operationNotSupportedByDevice: .unsupportedFileType
      default: .other
      }
    let detail: MappingError.Detail? = code == .symbolicLink ? .note("links that lead to each other, or too many") : nil
    return MappingError(
      code, operation: operation, errno: reason, path: path, offset: offset, length: length, detail: detail)
  }

  /// The thread's errno, to be read at once after a failed call.
  package static var currentErrno: Errno {
    #if canImport(Glibc)
      Errno(rawValue: Glibc.errno)
    #elseif canImport(Musl)
      Errno(rawValue: Musl.errno)
    #else
      Errno(rawValue: Darwin.errno)
    #endif
  }
}

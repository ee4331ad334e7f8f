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

/// A descriptor of our own and what fstat says of it.
internal struct OpenedFile: ~Copyable {
  internal let descriptor: CInt
  internal let stat: pgw_stat
  /// True when opening has made the file.
  internal let wasMade: Bool

  internal enum Kind { case regular, directory, pipe, socket, characterDevice, blockDevice, symbolicLink, other }

  internal var kind: Kind { Self.kind(of: stat.mode) }

  internal static func kind(of mode: UInt32) -> Kind {
    switch mode_t(truncatingIfNeeded: mode) & S_IFMT {
    case S_IFREG: .regular
    case S_IFDIR: .directory
    case S_IFIFO: .pipe
    case S_IFSOCK: .socket
    case S_IFCHR: .characterDevice
    case S_IFBLK: .blockDevice
    case S_IFLNK: .symbolicLink
    default: .other
    }
  }

  /// Opens for reading. O_NONBLOCK, so that a FIFO without a writer or a terminal line does not hang; it has no effect on
  /// regular files.
  internal init(reading path: FilePath, followsSymbolicLinks: Bool) throws(MappingError) {
    var flags = O_RDONLY | O_NONBLOCK | O_NOCTTY
    if !followsSymbolicLinks { flags |= O_NOFOLLOW }
    let opened = unsafe path.withPlatformString { unsafe pgw_open($0, flags, 0) }
    guard opened >= 0 else { throw .last(.open, path: path) }
    try self.init(owning: opened, path: path)
  }

  /// Duplicates a descriptor of the caller (close-on-exec); the caller keeps its own.
  internal init(duplicating original: CInt, path: FilePath?) throws(MappingError) {
    let copy = fcntl(original, F_DUPFD_CLOEXEC, 0)
    guard copy >= 0 else { throw .last(.open, path: path) }
    try self.init(owning: copy, path: path)
  }

  /// Takes over `descriptor`; closes it on failure.
  internal init(owning descriptor: CInt, path: FilePath?) throws(MappingError) {
    var found = pgw_stat()
    guard unsafe pgw_storage_fstat(descriptor, &found) == 0 else {
      let error = MappingError.last(.stat, path: path)
      _ = pgw_close(descriptor)
      throw error
    }
    self.descriptor = descriptor
    self.stat = found
    wasMade = false
  }

  /// A file that opening has made.
  internal init(made descriptor: CInt, stat: pgw_stat) {
    self.descriptor = descriptor
    self.stat = stat
    wasMade = true
  }

  deinit { _ = pgw_close(descriptor) }

  /// Waits until a cut that is under way is done, so that the size tells of it.
  ///
  /// XFS zeroes the cut page first and moves the size later, both under the lock that each read takes: a read of nothing is
  /// enough. Elsewhere the size moves first.
  internal static func awaitCut(of descriptor: CInt) { _ = pgw_pread(descriptor, nil, 0, 0) }

  /// True when a file that says to be empty answers a read all the same: files of /proc and /sys.
  ///
  /// Some of them, such as /proc/PID/pagemap, refuse a read of one byte. One that fails otherwise is not empty either: whoever
  /// reads it gets the reason.
  internal static func hasContent(_ descriptor: CInt) -> Bool {
    var byte: UInt8 = 0
    let got = unsafe pgw_pread(descriptor, &byte, 1, 0)
    guard got < 0, Errno.current == .invalidArgument else { return got != 0 }
    return unsafe withUnsafeTemporaryAllocation(byteCount: 4096, alignment: 8) { buffer in
      unsafe pgw_pread(descriptor, buffer.baseAddress, buffer.count, 0) != 0
    }
  }

  /// Gives the descriptor to a new owner.
  internal consuming func take() -> CInt {
    let taken = descriptor
    discard self
    return taken
  }
}

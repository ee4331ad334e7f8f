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

/// The lock of the one writer of a file. The kernel gives it back when the process ends, however it ends.
///
/// It belongs to the open file, which a child of this process may hold for a moment between fork and exec. So the end of this value
/// gives it back by name: closing the last descriptor here would leave it to the child's.
internal struct WriterLock: ~Copyable, Sendable {
  private let descriptor: CInt

  /// Takes the lock of an open file, which stays the caller's, and proves that its name still means this file: the writer before may
  /// have replaced it.
  ///
  /// - Throws: `busy` while another writer has it, `changed` when the name means another file by now.
  internal init(_ original: CInt, path: FilePath) throws(MappingError) {
    let copy = fcntl(original, F_DUPFD_CLOEXEC, 0)
    guard copy >= 0 else { throw .last(.lockFile, path: path) }
    guard pgw_storage_lock(copy) == 0 else {
      let error = MappingError.last(.lockFile, path: path)
      _ = pgw_close(copy)
      throw error
    }
    var own = pgw_stat()
    var named = pgw_stat()
    guard unsafe pgw_fstat(copy, &own) == 0,
      unsafe path.withPlatformString({ unsafe pgw_stat_path($0, true, &named) }) == 0,
      named.inode == own.inode, named.device == own.device
    else {
      _ = pgw_storage_unlock(copy)
      _ = pgw_close(copy)
      throw MappingError(.changed, operation: .open, path: path, detail: .note("it was replaced meanwhile"))
    }
    descriptor = copy
  }

  deinit {
    _ = pgw_storage_unlock(descriptor)
    _ = pgw_close(descriptor)
  }
}

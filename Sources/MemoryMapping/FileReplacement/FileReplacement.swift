// SPDX-License-Identifier: Apache-2.0

internal import CPlatform
public import SystemPackage

/// Replaces the whole content of the file at `path`, or makes it: everybody sees either the old content or the new, also after a
/// power cut.
///
/// Who has the old file open or mapped keeps it, whole; who opens the path later gets the new one. See ``FileReplacement`` for
/// what is kept of the old file and what a failure leaves.
///
/// - Parameters:
///   - path: any bytes but NUL. Where it is a symbolic link, its target is replaced and the link stays.
///   - bytes: the new content; they may be mapped, also from the old file.
///   - options: see ``ReplacementOptions``.
/// - Throws: ``MappingError`` as ``FileReplacement/init(_:options:)``, ``FileReplacement/append(_:)`` and
///   ``FileReplacement/commit()``.
/// - Complexity: O(n) and two waits for the device: 0.7 ms for 64 KiB on a fast one. C: `open(O_EXCL)`, `pwrite`, `fsync`,
///   `rename`, `fsync` of the folder.
public func replaceFile(
  _ path: FilePath, with bytes: RawSpan, options: ReplacementOptions = .init()
) throws(MappingError) {
  var replacement = try FileReplacement(path, options: options)
  try replacement.append(bytes)
  try replacement.commit()
}

/// How a file is replaced.
public struct ReplacementOptions: Sendable, Hashable {
  /// Of a file that is new, before the umask. One that is replaced keeps its own.
  public var permissions: FilePermissions = [.ownerReadWrite, .groupRead, .otherRead]
  /// Refuse (`permissionDenied`) when the new file cannot have the owner and group of the old one, as for most users who are not
  /// the owner. False, the default, lets it belong to this user then, without set-user and set-group bits.
  public var requiresOwner = false

  /// The defaults.
  public init() {}
}

/// The new content of a file, on its way: written beside it under a hidden name, and put in its place by ``commit()``.
///
/// ```swift
/// var new = try FileReplacement("words.txt")
/// try new.append(Array("alpha\n".utf8).span.bytes)
/// try new.commit()
/// ```
///
/// **The old file** is never touched. Until the commit it is at the path; from then on it lives for those who have it open or
/// mapped. Other hard links to it keep the old content.
///
/// **Kept** of it are mode, owner and group (see ``ReplacementOptions/requiresOwner``), and its extended attributes with the
/// access control list, as far as this user may set them. Not kept: times, other hard links, flags of `chattr`.
///
/// **A failure** of any call, the end of scope without a commit, and ``cancel()`` remove the new file. A process that is killed, or
/// a power cut, can leave it: the name is `.NAME.pagewise-XXXXXXXX` with eight hexadecimal digits, NAME shortened where it is
/// long, so that what no process is writing any more can be found and deleted.
///
/// **Several at once**: each is whole, the last commit stays.
public struct FileReplacement: ~Copyable, Sendable {
  /// The path as it was given.
  public let path: FilePath
  /// The new file until the commit; in the folder of the old one.
  public let temporaryPath: FilePath
  /// What is replaced: `path` without symbolic links in its last part.
  private let target: FilePath
  private let number: CInt
  /// The old file, open for its attributes; -1 where there is none.
  private let model: CInt
  private let requiresOwner: Bool
  private var isPending: Bool
  private var hasFailed: Bool

  /// Makes the new file, empty, beside the old.
  ///
  /// - Parameters:
  ///   - path: of a regular file, or of none. Where it is a symbolic link, its target is meant.
  ///   - options: see ``ReplacementOptions``.
  /// - Throws: ``MappingError``: `isDirectory`, `unsupportedFileType`, `symbolicLink` (a loop), `permissionDenied`, `readOnly`,
  ///   `noSpace`, `pathInvalid`, `notFound` when the folder is missing.
  public init(_ path: FilePath, options: ReplacementOptions = .init()) throws(MappingError) {
    let (target, old) = try path.replacementTarget()
    var model: CInt = -1
    if old != nil { model = try target.openModel(path) }
    do throws(MappingError) {
      // Nobody else's until it has the mode of the old one.
      let mode = old == nil ? CInt(options.permissions.rawValue) : 0o600
      (temporaryPath, number) = try target.makeTemporary(mode: mode, for: path)
    } catch {
      if model >= 0 { _ = pgw_close(model) }
      throw error
    }
    self.path = path
    self.target = target
    self.model = model
    requiresOwner = options.requiresOwner
    isPending = true
    hasFailed = false
  }

  /// The new file, open for reading and writing, for a program that writes it in its own way. Stays this value's: do not close it.
  public var descriptor: FileDescriptor { FileDescriptor(rawValue: number) }

  /// Writes `bytes` behind the end of the new file.
  ///
  /// - Parameter bytes: may be mapped: a page that cannot be had is an error.
  /// - Throws: ``MappingError``: `noSpace`, `limitExceeded`, `inputOutput`; `faulted` when the bytes themselves cannot be had. The
  ///   replacement cannot be committed then.
  /// - Complexity: O(n). C: `pwrite`.
  public mutating func append(_ bytes: RawSpan) throws(MappingError) {
    guard !bytes.isEmpty else { return }
    var now = pgw_stat()
    guard unsafe pgw_storage_fstat(number, &now) == 0 else { throw failed(.last(.replace, path: path)) }
    let count = bytes.byteCount
    let result = unsafe bytes.withUnsafeBytes {
      unsafe pgw_storage_write(number, $0.baseAddress.unsafelyUnwrapped, count, now.size)
    }
    guard result == 0 else { throw failed(.last(.replace, path: path, offset: now.size, length: Int64(count))) }
  }

  private mutating func failed(_ error: MappingError) -> MappingError {
    hasFailed = true
    return error
  }

  /// Makes the new file durable and puts it in the place of the old one.
  ///
  /// - Throws: ``MappingError``. The old file is untouched then, with one exception: `syncFailed` means that the new content is in
  ///   place and seen by everybody, but that the device did not confirm its name; a power cut may bring the old file back, whole.
  ///   `permissionDenied` also for an owner that must be kept and cannot; `wrongState` after an `append` that failed.
  /// - Complexity: two waits for the device. C: `fsync`, `rename`, `fsync` of the folder.
  public consuming func commit() throws(MappingError) {
    guard !hasFailed else {
      throw MappingError(.wrongState, operation: .replace, path: path, detail: .note("an append has failed"))
    }
    if model >= 0, pgw_storage_copy_attributes(model, number, requiresOwner) != 0 { throw .last(.replace, path: path) }
    guard pgw_storage_sync(number, PGW_SYNC_DEVICE) == 0 else { throw .last(.replace, path: path) }
    let renamed = unsafe temporaryPath.withPlatformString { old in
      unsafe target.withPlatformString { new in unsafe pgw_storage_rename(old, new) }
    }
    guard renamed == 0 else { throw .last(.replace, path: path) }
    isPending = false
    do throws(MappingError) { try target.syncFolder(.replace) } catch {
      // The device failed, or the folder could not be opened at all: then its write-back did not fail.
      let isLost = error.code == .inputOutput || error.code == .noSpace
      throw MappingError(
        isLost ? .syncFailed : error.code, operation: .replace, errno: error.errno, path: path,
        detail: .note("the new content is in place, but a power cut may bring the old one back"))
    }
  }

  /// Removes the new file; the old one stays. The same as the end of scope.
  public consuming func cancel() {}

  deinit {
    if isPending { _ = unsafe temporaryPath.withPlatformString { unsafe pgw_storage_unlink($0) } }
    _ = pgw_close(number)
    if model >= 0 { _ = pgw_close(model) }
  }
}

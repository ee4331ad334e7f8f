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

extension FileVerification {
  /// The file to check, and as what.
  internal static func recognise(_ path: FilePath) throws(MappingError) -> (FilePath, Format) {
    let resolved = try path.resolvingLinks(.verify)
    let file = try OpenedFile(reading: path, followsSymbolicLinks: true)
    guard file.kind == .regular else {
      throw MappingError(file.kind == .directory ? .isDirectory : .unsupportedFileType, operation: .verify, path: path)
    }
    var magic = [UInt8](repeating: 0, count: 8)
    let got = unsafe magic.withUnsafeMutableBytes {
      unsafe pgw_storage_read(file.descriptor, $0.baseAddress!, $0.count, 0)
    }
    guard got >= 0 else { throw .last(.read, path: path, offset: 0, length: 8) }
    let found = magic[..<got]

    // A journal by its magic, or, where that is damaged, by its name and the file beside it.
    let isJournal = found.elementsEqual(Journal.Header.magic)
    if let subject = subject(ofJournal: resolved), isRegularFile(subject) { return (subject, .transactional) }
    if isJournal {
      throw subject(ofJournal: resolved) == nil
        ? MappingError(
          .unknownFormat, operation: .verify, path: path,
          detail: .note("it is a journal, and by its name that of no file: FILE.pagewise-journal lies beside FILE"))
        : MappingError(
          .notFound, operation: .verify, path: path,
          detail: .note("it is a journal, and the file that it belongs to does not lie beside it"))
    }
    if isRegularFile(Journal.path(of: resolved)) { return (resolved, .transactional) }
    if found.elementsEqual(GrowableFormat.magic) { return (resolved, .growable) }
    if found.starts(with: NumPyHeader.magic) { return (resolved, .numPy) }
    throw MappingError(
      .unknownFormat, operation: .verify, path: path,
      detail: .note(
        "it is not one of our formats: a file of TransactionalFile or its journal, of GrowableMappedFile, or a .npy file"
      ))
  }

  private static func isRegularFile(_ path: FilePath) -> Bool {
    var found = pgw_stat()
    guard unsafe path.withPlatformString({ unsafe pgw_stat_path($0, false, &found) }) == 0 else { return false }
    return OpenedFile.kind(of: found.mode) == .regular
  }

  /// `FILE` of `FILE.pagewise-journal`; nil for other names.
  private static func subject(ofJournal path: FilePath) -> FilePath? {
    guard let name = path.lastComponent else { return nil }
    // Through the platform's characters: a name may be no UTF-8.
    var whole = unsafe name.withPlatformString { unsafe Array(UnsafeBufferPointer(start: $0, count: strlen($0))) }
    let suffix = ".pagewise-journal".utf8.map { CInterop.PlatformChar(truncatingIfNeeded: $0) }
    guard whole.count > suffix.count, whole.suffix(suffix.count).elementsEqual(suffix) else { return nil }
    whole.removeLast(suffix.count)
    whole.append(0)
    let bare = unsafe whole.withUnsafeBufferPointer { unsafe FilePath.Component(platformString: $0.baseAddress!) }
    return bare.map { path.removingLastComponent().appending($0) }
  }
}

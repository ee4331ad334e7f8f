// SPDX-License-Identifier: Apache-2.0

internal import CPlatform
internal import SystemPackage

extension MappedFile {
  /// What to map so that the chosen stability holds: the file itself with a promise, or a copy of it.
  internal static func prepare(
    _ file: consuming OpenedFile, options: Options, path: FilePath?
  ) throws(MappingError) -> OpenedFile {
    switch options.stability {
    case .none: return file
    case .sealed:
      let seals = pgw_get_seals(file.descriptor)
      guard seals >= 0, seals & CInt(PGW_SEAL_SHRINK) != 0 else {
        throw MappingError(
          .notSealed, operation: .seal, path: path,
          detail: .note(seals < 0 ? "not a memory file" : "no seal against shrinking"))
      }
      return file
    case .lease:
      // SIGURG: a break of the lease is told by a signal, and the default one, SIGIO, would end the process.
      guard pgw_lease_read(file.descriptor, pgw_sigurg()) == 0 else { throw .last(.lease, path: path) }
      return file
    case .snapshot: return try snapshot(of: file, path: path)
    }
  }

  /// A copy that nobody else can reach. Tried three times while the source changes.
  private static func snapshot(of file: consuming OpenedFile, path: FilePath?) throws(MappingError) -> OpenedFile {
    if let path, let clone = clone(of: file, path: path) { return clone }
    for _ in 0..<3 {
      let before = try stamp(of: file.descriptor, path: path)
      let copy = try copyToMemory(file, size: before.size, path: path)
      if let copy, try stamp(of: file.descriptor, path: path) == before { return copy }
    }
    throw MappingError(.changed, operation: .snapshot, path: path)
  }

  private static func stamp(of descriptor: CInt, path: FilePath?) throws(MappingError) -> FileIdentity {
    var found = pgw_stat()
    guard unsafe pgw_fstat(descriptor, &found) == 0 else { throw .last(.stat, path: path) }
    return FileIdentity(found)
  }

  /// A reflink in an unnamed file beside the source: one call, atomic. Nil where that is not to be had.
  private static func clone(of file: borrowing OpenedFile, path: FilePath) -> OpenedFile? {
    let folder = path.removingLastComponent()
    let unnamed = unsafe (folder.isEmpty ? FilePath(".") : folder).withPlatformString {
      unsafe pgw_open_unnamed($0)
    }
    guard unnamed >= 0 else { return nil }
    guard pgw_clone(unnamed, file.descriptor) == 0 else {
      _ = pgw_close(unnamed)
      return nil
    }
    guard let clone = try? OpenedFile(owning: unnamed, path: path), clone.stat.size >= file.stat.size else {
      return nil
    }
    return clone
  }

  /// A sealed memory file with the first `size` bytes; nil when the source became shorter meanwhile.
  private static func copyToMemory(
    _ file: borrowing OpenedFile, size: Int64, path: FilePath?
  ) throws(MappingError) -> OpenedFile? {
    let memory = unsafe pgw_memfd_create(
      "pagewise-snapshot", UInt32(PGW_MEMFD_CLOEXEC | PGW_MEMFD_ALLOW_SEALING))
    guard memory >= 0 else { throw .last(.snapshot, path: path) }
    var isDone = false
    defer { if !isDone { _ = pgw_close(memory) } }
    let buffer = UnsafeMutableRawBufferPointer.allocate(byteCount: 1 << 18, alignment: SystemPage.size)
    defer { unsafe buffer.deallocate() }
    var at: Int64 = 0
    while at < size {
      let want = Int(min(Int64(buffer.count), size - at))
      let got = unsafe pgw_pread(file.descriptor, buffer.baseAddress!, want, at)
      guard got >= 0 else { throw .last(.snapshot, path: path, offset: at, length: Int64(want)) }
      guard got > 0 else { return nil }
      var put = 0
      while put < got {
        let written = unsafe pgw_pwrite(memory, buffer.baseAddress! + put, got - put, at + Int64(put))
        guard written > 0 else { throw .last(.snapshot, path: path, offset: at, length: Int64(got)) }
        put += written
      }
      at += Int64(got)
    }
    _ = pgw_add_seals(
      memory, CInt(PGW_SEAL_SHRINK | PGW_SEAL_GROW | PGW_SEAL_WRITE))
    isDone = true
    return try OpenedFile(owning: memory, path: path)
  }
}

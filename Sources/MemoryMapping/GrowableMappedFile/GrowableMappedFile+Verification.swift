// SPDX-License-Identifier: Apache-2.0

internal import CPlatform
public import SystemPackage

extension GrowableMappedFile {
  /// What a look at a growable file found.
  public struct Verification: Sendable, Hashable {
    /// Bytes of the file.
    public let size: Int64
    /// Bytes of each record, or 0 for records of any length.
    public let stride: Int
    /// Committed bytes: what the next open finds. While a writer has it open, what it has committed until now.
    public let committedCount: Int
    /// Bytes that a power cut cannot take away; nil while a writer has it open, which may be flushing.
    public let durableCount: Int?
    /// Bytes of the data that were compared with a checksum: what came with the newest flush and after it. What lies before is
    /// not covered by the format. Nil while a writer has it open.
    public let checkedCount: Int?
    /// Bytes behind the committed ones that the next open gives back to the file system: room that was prepared, or an append that
    /// had begun. Nil while a writer has it open.
    public let excessCount: Int64?
    /// Bytes that had been committed, behind the newest flush, and do not have their checksum: a power cut took them, which it may,
    /// or something damaged them. Readers have seen them, the next open does without. Nil while a writer has it open.
    public let lostCount: Int?
    /// A writer has it open now.
    public let isOpen: Bool
  }

  /// Checks a growable file without changing anything: header, slots, lengths, and the checksum of what came with the newest flush
  /// and after it.
  ///
  /// When the data of the newest flush does not have its checksum that is `truncated` or `corrupt`, though the next open still
  /// finds what was flushed before it: a power cut in the middle of a flush leaves the same as damage later does.
  ///
  /// An empty file is refused, though the next open would make it a growable one.
  ///
  /// - Parameter path: of a growable file; symbolic links are followed.
  /// - Throws: ``MappingError``: `corrupt` or `truncated` with what is wrong and where; `invalidLayout` for another kind of file;
  ///   `notSupported` for a newer version; `notFound`, `permissionDenied`, `isDirectory`.
  /// - Complexity: O(``Verification/checkedCount``).
  public static func verify(_ path: FilePath) throws(MappingError) -> Verification {
    let file = try OpenedFile(reading: path, followsSymbolicLinks: true)
    guard file.kind == .regular else {
      throw MappingError(file.kind == .directory ? .isDirectory : .unsupportedFileType, operation: .verify, path: path)
    }
    var attempt = 0
    while true {
      attempt += 1
      let before = try headerBytes(file.descriptor, path)
      let result: Result<Verification, MappingError>
      do throws(MappingError) { result = .success(try look(file.descriptor, before, path)) } catch {
        result = .failure(error)
      }
      // A writer that came meanwhile has made two states of what was seen.
      guard attempt < 5, try headerBytes(file.descriptor, path) != before else { return try result.get() }
    }
  }

  private static func look(
    _ descriptor: CInt, _ bytes: [UInt8], _ path: FilePath
  ) throws(MappingError) -> Verification {
    let header = try GrowableFormat.Header(bytes, path: path, .verify)
    let isOpen = pgw_storage_is_locked(descriptor) == 1
    // After the length: a writer makes the file longer before it commits.
    var now = pgw_stat()
    guard unsafe pgw_fstat(descriptor, &now) == 0 else { throw .last(.stat, path: path) }
    let room = max(0, Int(clamping: now.size - Int64(GrowableFormat.headerSize)))
    let word = Int(clamping: header.committed)
    if isOpen {
      guard word <= room else {
        throw MappingError(
          .truncated, operation: .verify, path: path, offset: now.size, length: Int64(word - room),
          detail: .fileSize(now.size))
      }
      return Verification(
        size: now.size, stride: header.stride, committedCount: word, durableCount: nil, checkedCount: nil,
        excessCount: nil, lostCount: nil, isOpen: true)
    }
    let content = try content(header, descriptor, now.size, room, path)
    if header.stride > 1, content.committed % header.stride != 0 {
      throw MappingError(
        .corrupt, operation: .verify, path: path, offset: Int64(GrowableFormat.headerSize + content.committed),
        detail: .note("\(content.committed) bytes are no whole number of records of \(header.stride)"))
    }
    return Verification(
      size: now.size, stride: header.stride, committedCount: content.committed, durableCount: content.durable,
      checkedCount: content.committed - content.durableBase, excessCount: Int64(room - content.committed),
      lostCount: max(0, word - content.committed), isOpen: false)
  }

  private static func content(
    _ header: GrowableFormat.Header, _ descriptor: CInt, _ size: Int64, _ room: Int, _ path: FilePath
  ) throws(MappingError) -> GrowableContent {
    let newest = header.durable.compactMap { $0 }.max { $0.sequence < $1.sequence }
    func missing(_ note: String) -> MappingError? {
      guard let newest, newest.length > room else { return nil }
      return MappingError(
        .truncated, operation: .verify, path: path, offset: size, length: Int64(newest.length - room),
        detail: .note("\(newest.length) bytes of data had been flushed, and the file has room for \(room)\(note)"))
    }
    let content: GrowableContent
    do throws(MappingError) {
      content = try GrowableContent(header, descriptor: descriptor, size: size, path: path, .verify)
    } catch {
      throw error.code == .corrupt ? missing("; it cannot be opened") ?? error : error
    }
    if let newest, newest.length > content.committed {
      let next = "; the next open finds \(content.committed) bytes"
      throw missing(next)
        ?? MappingError(
          .corrupt, operation: .verify, path: path, offset: Int64(GrowableFormat.headerSize + newest.base),
          length: Int64(newest.length - newest.base),
          detail: .note("what the newest flush brought does not have its checksum\(next)"))
    }
    return content
  }

  private static func headerBytes(_ descriptor: CInt, _ path: FilePath) throws(MappingError) -> [UInt8] {
    var bytes = [UInt8](repeating: 0, count: GrowableFormat.headerSize)
    let got = unsafe bytes.withUnsafeMutableBytes {
      unsafe pgw_storage_read(descriptor, $0.baseAddress!, $0.count, 0)
    }
    guard got >= 0 else { throw .last(.read, path: path, offset: 0, length: Int64(GrowableFormat.headerSize)) }
    return Array(bytes[..<got])
  }
}

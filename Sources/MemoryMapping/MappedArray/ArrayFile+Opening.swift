// SPDX-License-Identifier: Apache-2.0

internal import CPlatform
internal import SystemPackage

extension ArrayFile {
  /// How to open or make the file, without the type of its elements.
  internal struct Request {
    internal var path: FilePath
    /// The shape of a file that is made.
    internal var shape: [Int]?
    internal var isExclusive: Bool
    internal var minimumHeaderSize: Int
    internal var permissions: FilePermissions
    internal var element: ArrayElement
    internal var transactions: TransactionalFile.Options

    /// The header of a file that is made.
    internal func newHeader() throws(MappingError) -> ArrayHeader? {
      guard let shape else { return nil }
      do throws(MappingError) {
        return try ArrayHeader(elementType: element.type, shape: shape, minimumSize: minimumHeaderSize)
      } catch {
        throw error.at(path)
      }
    }

    /// Checks a header that was found.
    internal func check(_ header: NumPyHeader, size: Int64) throws(MappingError) {
      do throws(MappingError) {
        try element.check(header, allowsSwapped: false)
        try NumPyHeader.checkSize(header, size: size)
        guard header.dataOffset % element.alignment == 0 else {
          throw .numPyHeader(
            .load,
            "its elements begin at byte \(header.dataOffset), and \(element.name) needs a multiple of \(element.alignment);"
              + " MappedArrayReader copies them", at: 8)
        }
        if let shape, shape.count != header.shape.count || shape.dropFirst() != header.shape.dropFirst() {
          throw .numPyHeader(
            .load,
            "its shape is \(NumPyHeader.text(of: header.shape)), and \(NumPyHeader.text(of: shape)) was asked for")
        }
      } catch {
        throw error.at(path)
      }
    }

    internal var creation: MutableMappedFile.Creation {
      shape == nil ? .never : isExclusive ? .exclusive(size: 0) : .ifMissing(size: 0)
    }
  }

  // ------------------------------------------------------------------------------------------------ in place

  internal static func openInPlace(_ request: Request) throws(MappingError) -> ArrayFile {
    let path = request.path
    let fresh = try request.newHeader()
    let opened = try OpenedFile(
      writing: path, creating: request.creation, permissions: request.permissions, followsSymbolicLinks: true)
    _ = try MappedFile.mappableSize(of: opened, path: path)
    guard opened.kind == .regular else { throw MappingError(.unsupportedFileType, operation: .open, path: path) }
    let lock = try WriterLock(opened.descriptor, path: path)
    try settleJournal(path.resolvingLinks(.open))
    // Now that no other writer is there: the size.
    var file = try OpenedFile(owning: opened.take(), path: path)
    if let fresh, try isBlank(file, expecting: fresh, path: path) {
      do throws(MappingError) { try initialize(file, fresh, path: path) } catch {
        // Empty again, or gone: what the next attempt makes anew.
        _ = pgw_storage_truncate(file.descriptor, 0)
        if request.isExclusive { _ = unsafe path.withPlatformString { unsafe pgw_storage_unlink($0) } }
        throw error
      }
      file = try OpenedFile(owning: file.take(), path: path)
    }
    let size = file.stat.size
    let descriptor = file.descriptor
    let (header, fixedReason) = try readHeader(request, size: size) { offset, count throws(MappingError) in
      try read(descriptor, offset, count, path)
    }
    var map = try MutableMappedFile(file, offset: 0, length: nil, options: .init(), path: path)
    map.isLockedByOwner = true
    let count = map.count
    return ArrayFile(
      inPlace: map, lock: lock, atomic: nil, header: header, fileCount: count, fixedReason: fixedReason, path: path)
  }

  /// Whether a file is new, or one whose making was cut off: then nothing but zeros stands where the header begins, and it is not
  /// larger than it was to be.
  private static func isBlank(
    _ file: borrowing OpenedFile, expecting fresh: ArrayHeader, path: FilePath
  ) throws(MappingError) -> Bool {
    guard file.stat.size <= Int64(fresh.header.endOffset) else { return false }
    return try read(file.descriptor, 0, ArrayHeader.sectorSize, path).allSatisfy { $0 == 0 }
  }

  /// Makes an array of zeros: everything but the header's first sector, a sync, that sector, a sync. So there is no moment at
  /// which a header stands in front of what is not there.
  private static func initialize(
    _ file: borrowing OpenedFile, _ header: ArrayHeader, path: FilePath
  ) throws(MappingError) {
    let end = Int64(header.header.endOffset)
    guard pgw_storage_truncate(file.descriptor, end) == 0 else { throw .last(.create, path: path, length: end) }
    if pgw_storage_allocate(file.descriptor, 0, end) != 0 {
      let error = MappingError.last(.create, path: path, offset: 0, length: end)
      if error.code != .notSupported { throw error }
    }
    let first = min(ArrayHeader.sectorSize, header.bytes.count)
    if header.bytes.count > first {
      try write(header.bytes, first..<header.bytes.count, file.descriptor, .create, path)
    }
    guard pgw_storage_sync(file.descriptor, PGW_SYNC_BARRIER) == 0 else { throw .last(.create, path: path) }
    try write(header.bytes, 0..<first, file.descriptor, .create, path)
    guard pgw_storage_sync(file.descriptor, PGW_SYNC_DEVICE) == 0 else { throw .last(.create, path: path) }
  }

  /// A journal beside the file: with commits in it the file is not what it should be; an empty one would stop fitting.
  private static func settleJournal(_ path: FilePath) throws(MappingError) {
    let journalPath = Journal.path(of: path)
    let journal: Journal
    do throws(MappingError) { journal = try Journal.openReadOnly(path: journalPath) } catch {
      if error.code == .notFound { return }
      throw error
    }
    let commits = try journal.scan(state: journal.header.state).count
    let isSettled = journal.header.state.map { $0 & 1 == 0 } ?? false
    guard commits == 0, isSettled else {
      throw MappingError(
        .wrongState, operation: .open, path: path,
        detail: .note("its journal holds what an atomic writer has committed; open it once as .atomic and close it"))
    }
    guard unsafe journalPath.withPlatformString({ unsafe pgw_storage_unlink($0) }) == 0 else {
      throw .last(.open, path: journalPath)
    }
  }

  // -------------------------------------------------------------------------------------------------- atomic

  internal static func openAtomic(_ request: Request) throws(MappingError) -> ArrayFile {
    let path = request.path
    let fresh = try request.newHeader()
    var file = try TransactionalFile(
      path, creating: request.creation, permissions: request.permissions, options: request.transactions)
    if let fresh, file.count == 0 {
      try file.begin()
      try file.resize(to: fresh.header.endOffset)
      try store(fresh.bytes, 0..<fresh.bytes.count, in: &file)
      try file.commit()
    }
    let count = file.count
    // From the view: with `.atCheckpoint` the file itself may be older.
    let (header, fixedReason) = try readHeader(request, size: Int64(count)) { offset, wanted throws(MappingError) in
      try read(file, offset, min(wanted, count - offset))
    }
    return ArrayFile(
      inPlace: nil, lock: nil, atomic: file, header: header, fileCount: count, fixedReason: fixedReason, path: path)
  }

  /// Stores bytes of a header in an open transaction.
  internal static func store(
    _ bytes: [UInt8], _ range: Range<Int>, in file: inout TransactionalFile
  ) throws(MappingError) {
    // Right because bytes of an array of UInt8 are all initialized.
    try unsafe file.copy(bytes.span.bytes.extracting(range), to: range.lowerBound)
  }

  // --------------------------------------------------------------------------------------------------- parts

  /// Bytes of the file, as far as it reaches.
  private static func read(
    _ descriptor: CInt, _ offset: Int, _ count: Int, _ path: FilePath
  ) throws(MappingError) -> [UInt8] {
    var bytes = [UInt8](repeating: 0, count: count)
    let got = unsafe bytes.withUnsafeMutableBytes {
      unsafe pgw_storage_read(descriptor, $0.baseAddress!, $0.count, Int64(offset))
    }
    guard got >= 0 else { throw .last(.read, path: path, offset: Int64(offset), length: Int64(count)) }
    return Array(bytes.prefix(got))
  }

  internal static func write(
    _ bytes: [UInt8], _ range: Range<Int>, _ descriptor: CInt, _ operation: MappingError.Operation, _ path: FilePath
  ) throws(MappingError) {
    let result = unsafe bytes.withUnsafeBytes {
      unsafe pgw_storage_write(descriptor, $0.baseAddress! + range.lowerBound, range.count, Int64(range.lowerBound))
    }
    guard result == 0 else {
      throw .last(operation, path: path, offset: Int64(range.lowerBound), length: Int64(range.count))
    }
  }

  private static func read(
    _ file: borrowing TransactionalFile, _ offset: Int, _ count: Int
  ) throws(MappingError) -> [UInt8] {
    _ = try file.enter(offset..<offset + count, .read, isWriting: false)
    var bytes = [UInt8](repeating: 0, count: count)
    let source = unsafe file.start + offset
    let missing = unsafe bytes.withUnsafeMutableBytes { buffer in
      guard let target = buffer.baseAddress else { return 0 }
      return unsafe pgw_copy_checked(target, source, count)
    }
    if missing != 0 || file.flag.isRaised { throw file.lost(.read, at: offset) }
    return bytes
  }

  /// The checked header, and why the array cannot grow, if so.
  ///
  /// - Parameter read: gives bytes at an offset within the file, as many as there are.
  private static func readHeader(
    _ request: Request, size: Int64, _ read: (Int, Int) throws(MappingError) -> [UInt8]
  ) throws(MappingError) -> (ArrayHeader, fixedReason: String?) {
    let header: ArrayHeader
    do throws(MappingError) {
      let start = try read(0, 4096)
      // Right because bytes of an array of UInt8 are all initialized.
      let wanted = try unsafe NumPyHeader.size(statedIn: start.span.bytes)
      header = try ArrayHeader(parsing: wanted > start.count ? read(0, wanted) : start)
    } catch {
      throw error.at(request.path)
    }
    try request.check(header.header, size: size)
    if header.field == nil { return (header, header.reasonNotToGrow) }
    // `numpy.save` can put several arrays into one file. To grow the first would overwrite the second.
    let next = try read(header.header.endOffset, NumPyHeader.magic.count)
    return (header, next == NumPyHeader.magic ? "another array follows it in the same file" : nil)
  }
}

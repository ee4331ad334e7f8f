// SPDX-License-Identifier: Apache-2.0

internal import CPlatform
public import SystemPackage

extension TransactionalFile {
  /// What a look at a file and its journal found.
  public struct Verification: Sendable, Hashable {
    /// Bytes of the file.
    public let size: Int64
    /// The generation that the file has on disk.
    public let generation: UInt64
    /// Whole commits in the journal that the next open brings into the file; 0 after a proper close. Nil while a writer has it
    /// open: the journal is being written.
    public let pendingCommits: Int?
    /// Bytes of those in the journal.
    public let journalBytes: Int64?
    /// A writer has it open now.
    public let isOpen: Bool
    /// The journal was made for this file, not for another one.
    public let belongsTogether: Bool
  }

  /// Checks a file's journal without changing anything: header, slots, each record's checksum, sizes.
  ///
  /// - Parameter path: of the file, not of the journal.
  /// - Throws: ``MappingError``: `corrupt` or `truncated` with what is wrong and where; `notFound` also without a journal.
  public static func verify(_ path: FilePath) throws(MappingError) -> Verification {
    let resolved = try path.resolvingLinks(.verify)
    var attempt = 0
    while true {
      attempt += 1
      let file = try OpenedFile(reading: path, followsSymbolicLinks: true)
      let journal = try Journal.openReadOnly(path: Journal.path(of: resolved))
      let wasOpen = pgw_storage_is_locked(file.descriptor) == 1
      let result: Result<Verification, MappingError>
      do throws(MappingError) { result = .success(try look(file, journal, resolved, isOpen: wasOpen)) } catch {
        result = .failure(error)
      }
      // A writer that came meanwhile has made two states of what was seen.
      let header = try Journal.readHeader(journal.descriptor.number, path: journal.path)
      let isSame = header == journal.header && pgw_storage_is_locked(file.descriptor) != 1
      if wasOpen || isSame || attempt == 5 { return try result.get() }
    }
  }

  private static func look(
    _ file: borrowing OpenedFile, _ journal: borrowing Journal, _ resolved: FilePath, isOpen: Bool
  ) throws(MappingError) -> Verification {
    let records = isOpen ? nil : try journal.scan(state: journal.header.state)
    let belongs = journal.header.subject.matches(
      Journal.Subject(descriptor: file.descriptor, inode: file.stat.inode))
    if belongs, file.stat.size < journal.slot.size {
      throw MappingError(
        .truncated, operation: .verify, path: resolved, offset: file.stat.size,
        length: journal.slot.size - file.stat.size, detail: .fileSize(file.stat.size))
    }
    return Verification(
      size: file.stat.size, generation: journal.slot.generation, pendingCommits: records?.count,
      journalBytes: records?.reduce(0) { $0 + $1.length }, isOpen: isOpen, belongsTogether: belongs)
  }
}

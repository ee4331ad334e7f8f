// SPDX-License-Identifier: Apache-2.0

internal import CPlatform
internal import Synchronization
public import SystemPackage

/// Reads a ``TransactionalFile`` that another process may be writing: each reading sees one committed state, and knows which.
///
/// ```swift
/// var reader = try TransactionalReader("accounts.bin")
/// let (sum, generation) = try reader.read { bytes, generation in (total(bytes), generation) }
/// ```
///
/// A reading takes no lock and one system call: it loads the state that the writer publishes, reads the mapped file, loads the
/// state again, and asks whether the journal is still the one beside the file. If a commit was applied meanwhile the reading is done anew. So the closure may run several times, and over bytes that
/// are mixed from two states, in which case its result is thrown away: it must not have effects, and must make progress whatever the
/// bytes say.
///
/// Readers see a commit when it has been brought into the file: with ``TransactionalFile/Options/Application/atCommit`` as part of
/// `commit`. When a writer was killed while it brought a commit into the file, the reader finishes that itself if it may write the
/// file, and says so otherwise.
@safe
public struct TransactionalReader: ~Copyable, Sendable {
  private var map: MappedFile
  /// The first page of the journal.
  private var header: MappedFile
  private let descriptor: OwnedDescriptor
  /// Where the file lies, without symbolic links.
  public let path: FilePath
  /// The state that `map` was made in.
  private var mappedState: UInt64
  /// How long to wait for a writer that is bringing a commit into the file. Nanoseconds.
  private let patience: UInt64

  /// Opens for reading.
  ///
  /// - Parameters:
  ///   - path: of a file that has been opened as a ``TransactionalFile`` before: its journal must be there.
  ///   - patience: how long a reading may wait for, or be disturbed by, the writer before it throws `busy`.
  /// - Throws: ``MappingError``: `notFound` also without a journal; `busy` when commits of a writer that ended must be brought into
  ///   the file and this process may not write it; `corrupt`.
  public init(_ path: FilePath, patience: Duration = .seconds(1)) throws(MappingError) {
    let file = try OpenedFile(reading: path, followsSymbolicLinks: true)
    let resolved = try path.resolvingLinks(.open)
    let journalPath = Journal.path(of: resolved)
    try Self.finish(file.descriptor, resolved)
    let header = try MappedFile(journalPath, length: Journal.headerSize)
    let map = try MappedFile(resolved)
    guard map.identity.inode == file.stat.inode else {
      throw MappingError(.changed, operation: .open, path: resolved, detail: .note("it was replaced meanwhile"))
    }
    self.header = header
    self.map = map
    descriptor = OwnedDescriptor(number: file.take())
    self.path = resolved
    // No state has all bits set.
    mappedState = .max
    let (seconds, attoseconds) = patience.components
    // A century at most.
    let whole = min(max(0, seconds), 3_200_000_000)
    self.patience = UInt64(whole) * 1_000_000_000 + UInt64(max(0, min(attoseconds / 1_000_000_000, 999_999_999)))
  }

  /// Brings commits into the file that a writer which ended has left in the journal.
  private static func finish(_ descriptor: CInt, _ path: FilePath) throws(MappingError) {
    // A live writer does it itself.
    guard pgw_storage_is_locked(descriptor) != 1 else { return }
    let journal = try Journal.openReadOnly(path: Journal.path(of: path))
    let records = try journal.scan(state: journal.header.state)
    let isSettled = journal.header.state.map { $0 & 1 == 0 } ?? false
    guard !records.isEmpty || !isSettled else { return }
    do throws(MappingError) {
      let writer = try TransactionalFile(path)
      try writer.close()
    } catch {
      // Another one was faster.
      if error.code == .busy { return }
      var error = error
      if error.code == .permissionDenied || error.code == .readOnly {
        error.code = .busy
        error.detail = .note("a writer ended in the middle of a commit; open it once with the right to write")
      }
      throw error
    }
  }

  /// The generation that the file shows now, or nil while a newer one is being brought into it.
  ///
  /// - Throws: ``MappingError`` when the journal's page was lost.
  public borrowing func generation() throws(MappingError) -> UInt64? {
    guard let state = try state(), state & 1 == 0 else { return nil }
    return state >> 1
  }

  /// Both words of the state, if they agree.
  private borrowing func state() throws(MappingError) -> UInt64? {
    let words = unsafe header.viewStart + Int(Journal.stateOffset)
    // The writer stores the lower one first: if the upper one has a value, and the lower one then has the same, nothing is under way.
    let upper = unsafe pgw_load_word(words + 8)
    let lower = unsafe pgw_load_word(words)
    if header.faultFlag.isRaised { throw header.faultError(.read) }
    return upper == lower ? UInt64(littleEndian: upper) : nil
  }

  /// Runs `body` over one committed state of the file, as often as it takes to see one that did not change.
  ///
  /// - Parameter body: gets the bytes and their generation. Without effects; must not suspend. The span cannot leave it.
  /// - Returns: what `body` returned the last time.
  /// - Throws: ``MappingError``: `busy` when the writer left no gap for as long as the reader's patience; `truncated`,
  ///   `inputOutput`; what `body` throws, when it was not disturbed.
  /// - Complexity: one `fstat` (some 0.4 µs) beyond `body` while nothing is committed.
  public mutating func read<R>(_ body: (RawSpan, UInt64) throws -> R) throws -> R {
    var deadline: UInt64? = nil
    var attempt = 0
    while true {
      if let state = try state(), state & 1 == 0 {
        if state != mappedState { try remap(state) }
        let bytes = unsafe RawSpan(_unsafeStart: map.viewStart, byteCount: map.count)
        let result = Result { try body(bytes, state >> 1) }
        pgw_fence_loads()
        // A journal that was taken away tells nothing any more; a new writer has made another.
        if isRetired {
          try reopen()
          try wait(&deadline, &attempt)
          continue
        }
        if try self.state() == state {
          try map.checkFault()
          return try result.get()
        }
      }
      try wait(&deadline, &attempt)
    }
  }

  /// True when the journal that is mapped has no name any more.
  private var isRetired: Bool {
    var now = pgw_stat()
    return unsafe pgw_fstat(header.range.descriptor, &now) != 0 || now.links == 0
  }

  /// Takes the journal, and the file, that lie at the path now.
  private mutating func reopen() throws(MappingError) {
    self = try TransactionalReader(path, patience: .nanoseconds(Int64(clamping: patience)))
  }

  /// The file may have grown.
  private mutating func remap(_ state: UInt64) throws(MappingError) {
    var now = pgw_stat()
    guard unsafe pgw_fstat(descriptor.number, &now) == 0 else { throw .last(.stat, path: path) }
    if now.size != Int64(map.count) || map.faultFlag.isRaised {
      map = try MappedFile(
        OpenedFile(duplicating: descriptor.number, path: path), offset: 0, length: nil, options: .init(), path: path)
    }
    mappedState = state
  }

  private borrowing func wait(_ deadline: inout UInt64?, _ attempt: inout Int) throws(MappingError) {
    attempt += 1
    let now = pgw_now_ns()
    guard let end = deadline else {
      deadline = now &+ patience
      return
    }
    guard now < end else {
      throw MappingError(
        .busy, operation: .read, path: path, detail: .note("the writer left no gap in \(patience / 1_000_000) ms"))
    }
    // Every so often: is there a writer at all?
    if attempt % 64 == 0 { try Self.finish(descriptor.number, path) }
    pgw_sleep_ns(min(1_000_000, 20_000 * UInt64(attempt)))
  }
}

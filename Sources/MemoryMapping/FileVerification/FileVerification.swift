// SPDX-License-Identifier: Apache-2.0

internal import CPlatform
public import SystemPackage

/// What a file is, of the formats that this library writes or shares, and whether it is as it should be.
///
/// Recognised in this order:
///
/// 1. a file beside which its journal lies (`FILE.pagewise-journal`), or that journal itself: a ``TransactionalFile``. What the
///    file holds is the program's own affair and is not looked at;
/// 2. a file that begins with the magic of a ``GrowableMappedFile``;
/// 3. a file that begins with the magic of NumPy's `.npy` format.
///
/// Reads only, and takes no lock: a writer is not held up.
public struct FileVerification: Sendable, Hashable {
  /// The file that was checked: of a journal, the file that it belongs to.
  public let path: FilePath
  /// What it is.
  public let format: Format
  /// What was found; nil when damage kept it from being read.
  public let content: Content?
  /// What is wrong and where; nil when nothing is.
  public let problem: MappingError?

  /// What a file can be.
  public enum Format: Sendable, Hashable, CaseIterable {
    /// A ``TransactionalFile``.
    case transactional
    /// A ``GrowableMappedFile``.
    case growable
    /// A `.npy` file.
    case numPy
  }

  /// The findings of each format.
  public enum Content: Sendable, Hashable {
    /// Of a ``TransactionalFile``, with the path of its journal.
    case transactional(TransactionalFile.Verification, journal: FilePath)
    /// Of a ``GrowableMappedFile``.
    case growable(GrowableMappedFile.Verification)
    /// Of a `.npy` file.
    case numPy(NumPyHeader.Verification)
  }

  /// Finds out what a file is and checks it.
  ///
  /// - Parameter path: of the file, or of the journal of a ``TransactionalFile``; symbolic links are followed.
  /// - Throws: ``MappingError``: `unknownFormat`; `notFound`, also for a journal without its file; `permissionDenied`,
  ///   `isDirectory`, `unsupportedFileType`, `inputOutput`. What is wrong with a file whose format is known is in ``problem``.
  /// - Complexity: that of reading the journal, or of what the checksums of a growable file cover.
  public init(_ path: FilePath) throws(MappingError) {
    let (file, format) = try Self.recognise(path)
    self.path = file
    self.format = format
    do throws(MappingError) {
      switch format {
      case .transactional:
        let found = try TransactionalFile.verify(file)
        content = .transactional(found, journal: Journal.path(of: file))
        problem = Self.strangeJournal(found, file)
      case .growable:
        content = .growable(try GrowableMappedFile.verify(file))
        problem = nil
      case .numPy:
        content = .numPy(try NumPyHeader.verify(file))
        problem = nil
      }
    } catch {
      switch error.code {
      case .corrupt, .truncated, .invalidLayout, .notSupported:
        content = nil
        var error = error
        error.operation = .verify
        problem = error
      default: throw error
      }
    }
  }

  /// What the next open of the file does, in one sentence.
  public var nextOpen: String {
    switch content {
    case .transactional(let found, _)?: Self.nextOpen(found)
    case .growable(let found)?: Self.nextOpen(found)
    case .numPy(let found)?:
      "NumPy loads \(found.header.elementCount) elements from it."
        + (found.excessCount > 0 ? " What lies behind them is not looked at." : "")
    case nil: "The next open may refuse it."
    }
  }

  private static func nextOpen(_ found: TransactionalFile.Verification) -> String {
    guard let pending = found.pendingCommits else {
      return
        "A writer has it open: another one is told that it is busy, and readers see the newest commit that it applied."
    }
    let commits = pending == 1 ? "1 commit" : "\(pending) commits"
    guard found.belongsTogether else {
      return pending == 0
        ? "The next open takes the journal over for this file; nothing in it waits."
        : "The next open refuses, unless it is told to replay or to discard the \(commits)."
    }
    return pending == 0
      ? "The next open finds generation \(found.generation) and has nothing to bring in."
      : "The next open brings \(commits) into the file, which then has generation \(found.generation + UInt64(pending))."
  }

  private static func nextOpen(_ found: GrowableMappedFile.Verification) -> String {
    guard !found.isOpen else {
      return "A writer has it open: another one is told that it is busy, and readers follow what it commits."
    }
    var text = "The next open finds \(found.committedCount) bytes"
    if let excess = found.excessCount, excess > 0 { text += " and gives \(excess) behind them back" }
    if let lost = found.lostCount, lost > 0 {
      text += "; \(lost) more had been committed and not flushed, and are gone"
    }
    return text + "."
  }

  /// Commits that would be brought into a file which is not theirs: opening refuses that, so it is no state to be in.
  private static func strangeJournal(_ found: TransactionalFile.Verification, _ path: FilePath) -> MappingError? {
    guard !found.belongsTogether, let pending = found.pendingCommits, pending > 0 else { return nil }
    return MappingError(
      .corrupt, operation: .verify, path: path,
      detail: .note(
        "its journal was made for another file and holds \(pending) commits: one of the two was moved, copied or restored "
          + "without the other"))
  }
}

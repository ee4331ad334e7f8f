// SPDX-License-Identifier: Apache-2.0

import CBaselines
import MemoryMapping
import SystemPackage

/// One way to make changes of a file durable. Each has a file of its own with the same content and gets the same changes.
protocol CommitSide: AnyObject {
  /// The stores, without waiting for the device.
  func store(_ changes: base_changes) throws
  /// Durable when it returns.
  func commit() throws
  /// What has to be done behind it, not timed.
  func settle(_ changes: base_changes) throws
  /// Everything is in the file.
  func close() throws
}

/// TransactionalFile, up to different points.
final class OurCommit: CommitSide {
  enum Reach {
    /// The commit point; bringing the commit into the file is left to later.
    case commitPoint
    /// `commit` as it is by default: readers of the file see it, too.
    case applied
    /// And the file itself is synced, the journal empty: all that there is to write is written.
    case checkpointed
  }
  private let reach: Reach
  private var file: TransactionalFile?

  init(_ path: String, _ reach: Reach) throws {
    var options = TransactionalFile.Options()
    if reach != .applied {
      options.application = .atCheckpoint
      // No checkpoint but ours.
      options.journalLimit = 1 << 30
    }
    self.reach = reach
    file = try TransactionalFile(FilePath(path), options: options)
  }

  func store(_ changes: base_changes) throws {
    try file!.begin()
    try file!.withMutableBytes { bytes in
      bytes.withUnsafeMutableBytes { base_store($0.baseAddress, changes) }
    }
  }

  func commit() throws {
    try file!.commit()
    if reach == .checkpointed { try file!.checkpoint() }
  }

  func settle(_ changes: base_changes) throws {
    if reach == .commitPoint { try file!.checkpoint() }
  }

  func close() throws {
    let last = file.take()
    try last!.close()
  }
}

/// A way in C.
final class BaselineCommit: CommitSide {
  private let committer: OpaquePointer

  init(_ path: String, _ way: base_commit_way) throws {
    guard let found = base_committer_open(path, Int32(way.rawValue)) else { throw CallFailed(path: path) }
    committer = found
  }

  func store(_ changes: base_changes) throws { try check(base_committer_store(committer, changes)) }
  func commit() throws { try check(base_committer_commit(committer)) }
  func settle(_ changes: base_changes) throws { try check(base_committer_settle(committer, changes)) }
  func close() throws { base_committer_close(committer) }

  private func check(_ result: Int32) throws {
    guard result == 0 else { throw CallFailed(path: "a baseline's call") }
  }
}

struct CallFailed: Error { var path: String }

/// What the table of commits compares.
enum CommitWay: CaseIterable {
  case commitPoint, applied, checkpointed, msync, pwrite, journal

  var name: String {
    switch self {
    case .commitPoint: "commit point"
    case .applied: "commit"
    case .checkpointed: "commit, checkpoint"
    case .msync: "msync"
    case .pwrite: "pwrite, fdatasync"
    case .journal: "C journal"
    }
  }

  func open(_ path: String) throws -> any CommitSide {
    switch self {
    case .commitPoint: try OurCommit(path, .commitPoint)
    case .applied: try OurCommit(path, .applied)
    case .checkpointed: try OurCommit(path, .checkpointed)
    case .msync: try BaselineCommit(path, BASE_COMMIT_MSYNC)
    case .pwrite: try BaselineCommit(path, BASE_COMMIT_PWRITE)
    case .journal: try BaselineCommit(path, BASE_COMMIT_JOURNAL)
    }
  }
}

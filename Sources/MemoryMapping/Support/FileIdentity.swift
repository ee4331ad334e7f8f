// SPDX-License-Identifier: Apache-2.0

internal import CPlatform

/// Which file it is and in which state: what a stamp check compares.
///
/// Two equal values of one file mean: same device and inode, same size, and neither content (by `write`, `truncate`) nor
/// metadata changed in between, as far as the file system's clock can tell. A store through another process's mapping
/// moves the times only when the kernel notices the page as dirty, not on each store.
public struct FileIdentity: Sendable, Hashable {
  /// The device that holds the file (`st_dev`).
  public let device: UInt64
  /// The file's number on it (`st_ino`).
  public let inode: UInt64
  /// Bytes (`st_size`).
  public let size: Int64
  /// Time of the last change of content, nanoseconds since 1970 (`st_mtim`).
  public let modified: Int64
  /// Time of the last change of content or metadata, nanoseconds since 1970 (`st_ctim`).
  public let changed: Int64

  internal init(_ stat: pgw_stat) {
    device = stat.device
    inode = stat.inode
    size = stat.size
    modified = stat.modified_ns
    changed = stat.changed_ns
  }
}

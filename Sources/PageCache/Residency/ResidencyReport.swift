// SPDX-License-Identifier: Apache-2.0

public import MemoryMapping
public import SystemPackage

/// What the page cache holds of a file, or of all files of a folder.
public struct ResidencyReport: Sendable {
  /// As it was given.
  public let path: FilePath
  /// The walk through the folder; nil for a single file.
  public let walk: WalkCounts?
  /// Bytes of the file or files.
  public let size: Int64
  /// All files together.
  public let pages: CachedPages
  /// Files that have pages in memory.
  public let residentFiles: Int
  /// The file itself, or of a folder those that come first in the order that was asked for.
  public let files: [FileResidency]
  /// The file system that the path lies on; nil when it did not say.
  public let fileSystem: FileSystemKind?
  /// True when it was cancelled: counts are of a part.
  public let isInterrupted: Bool
}

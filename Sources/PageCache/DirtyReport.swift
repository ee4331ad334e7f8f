// SPDX-License-Identifier: Apache-2.0

public import MemoryMapping
public import SystemPackage

/// What of a file, or of all files of a folder, is not yet on the device.
public struct DirtyReport: Sendable {
  /// As it was given.
  public let path: FilePath
  /// The walk through the folder; nil for a single file.
  public let walk: WalkCounts?
  /// Bytes of the file or files.
  public let size: Int64
  /// All files together.
  public let bytes: DirtyBytes
  /// Files that have bytes to write.
  public let dirtyFiles: Int
  /// Those with most of them, most first. Empty for a single file.
  public let largest: [File]
  /// The file system that the path lies on; nil when it did not say.
  public let fileSystem: FileSystemKind?
  /// True when it was cancelled: counts are of a part.
  public let isInterrupted: Bool

  /// One file of a folder.
  public struct File: Sendable, Hashable {
    /// Begins with the folder's path.
    public let path: FilePath
    /// Bytes of the file.
    public let size: Int64
    /// What of it is not on the device.
    public let bytes: DirtyBytes
  }
}

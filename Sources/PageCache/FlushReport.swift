// SPDX-License-Identifier: Apache-2.0

public import MemoryMapping
public import SystemPackage

/// What a ``FileFlusher`` has done.
public struct FlushReport: Sendable {
  /// As it was given.
  public let path: FilePath
  /// How far everything was brought.
  public let level: FlushLevel
  /// The walk through the folder; nil for a single file.
  public let walk: WalkCounts?
  /// Files that were brought there.
  public let files: Int
  /// Folders whose names were made durable.
  public let folders: Int
  /// What was not on the device before, of the files that were flushed.
  public let before: DirtyBytes
  /// The same afterwards. What others have stored meanwhile is in it.
  public let after: DirtyBytes
  /// From the first call to the last one.
  public let nanoseconds: UInt64
  /// The file system that the path lies on; nil when it did not say.
  public let fileSystem: FileSystemKind?
  /// True when it was cancelled: not everything was flushed.
  public let isInterrupted: Bool

  /// True on a file system that lives in memory: there is no device, and a power cut takes everything.
  public var hasNoDevice: Bool { fileSystem?.livesInMemory ?? false }
}

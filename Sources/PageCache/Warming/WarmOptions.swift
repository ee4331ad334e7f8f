// SPDX-License-Identifier: Apache-2.0

public import MemoryMapping
public import SystemPackage

extension CacheWarmer {
  /// How files are brought into memory.
  public enum Method: String, Sendable, Hashable, CaseIterable {
    /// Window by window, and each is waited for: the kernel reads ahead and makes large folios, so that those who map the file
    /// fault seldom. C: `madvise(MADV_POPULATE_READ)`.
    case populate
    /// All windows are asked for in advance, then waited for: up to three times as fast on a device with a deep queue, but in single
    /// pages, so that those who map the file fault for every 16 of them. C: `posix_fadvise(POSIX_FADV_WILLNEED)`.
    case request
  }

  /// What to warm, and how.
  public struct Options: Sendable, Hashable {
    /// How the bytes come.
    public var method = Method.populate
    /// Bytes of a window, the unit of waiting and of cancelling: a multiple of the page, 64 KiB at least; nil for 8 MiB.
    public var window: Int? = nil
    /// Bytes to bring into memory at most; nil for nine tenths of what this process may still use: the system's available memory or
    /// what is left under a control group's limit, whichever is less.
    public var budget: Int64? = nil
    /// Load holes, too: pages of zeros, which cost memory and spare a reader no device.
    public var loadsHoles = false
    /// Which files of folders are meant.
    public var patterns = FilePatterns()
    /// Follow symbolic links. A folder that is met again is not entered again.
    public var followsLinks = false
    /// Leave out folders on other file systems.
    public var staysOnFileSystem = false

    /// Populate, in windows of 8 MiB, within the memory there is.
    public init() {}
  }
}

/// What a ``CacheWarmer`` has done.
public struct WarmReport: Sendable {
  /// As it was given.
  public let path: FilePath
  /// The walk through the folder; nil for a single file.
  public let walk: WalkCounts?
  /// The file system that the path lies on; nil when it did not say.
  public let fileSystem: FileSystemKind?
  /// Bytes that were to be warm, holes left out.
  public let wanted: Int64
  /// What of the files was in memory before, in the ranges that were asked for.
  public let before: CachedPages
  /// The same afterwards. What was taken away again meanwhile is missing: memory is short.
  public let after: CachedPages
  /// Bytes that the run brought into memory. At least: of files that the kernel does not tell about, whole windows count.
  public let brought: Int64
  /// Bytes of windows that were resident already, so nothing was done.
  public let skipped: Int64
  /// Bytes that could not be loaded: behind the end of a file that shrank, or the device failed.
  public let failed: Int64
  /// Calls that the kernel refused; what they asked for was read instead.
  public let refused: Int
  /// The reason of the first refusal.
  public let firstRefusal: Errno?
  /// Bytes that the run might bring.
  public let budget: Int64
  /// True when it ended because ``budget`` was used up, or the memory that is left fell below a sixteenth of it.
  public let isOverBudget: Bool
  /// True when it was cancelled.
  public let isInterrupted: Bool
  /// From the first call to the last one.
  public let nanoseconds: UInt64
  /// How many pages a fault maps now, of a single file; nil when it cannot be told.
  public let pagesPerFault: Int?
  /// The first place of a single file that could not be loaded, while others could; of folders and lists see ``walk``.
  public let failure: MappingError?
  /// Of a list of ranges: what became of its files. Nil for a path.
  public let list: ListCounts?

  /// What became of the files of a list.
  public struct ListCounts: Sendable, Hashable {
    /// Files in the list.
    public var files = 0
    /// Files that are not there any more, or cannot be opened.
    public var missing = 0
    /// Files whose size or time of change is another than when the list was made; their ranges are warmed as far as they reach.
    public var changed = 0
  }
}

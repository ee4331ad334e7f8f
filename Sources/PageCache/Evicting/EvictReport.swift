// SPDX-License-Identifier: Apache-2.0

public import MemoryMapping
public import SystemPackage

/// What a ``CacheEvictor`` has done.
public struct EvictReport: Sendable {
  /// As it was given.
  public let path: FilePath
  /// The walk through the folder; nil for a single file.
  public let walk: WalkCounts?
  /// The file system that the path lies on; nil when it did not say.
  public let fileSystem: FileSystemKind?
  /// Bytes of the file or files.
  public let size: Int64
  /// What was in memory before.
  public let before: CachedPages
  /// What is there afterwards. Counted again, not believed: the kernel reports success for pages that it keeps.
  public let after: CachedPages
  /// Files that were synced first because they were dirty.
  public let synced: Int
  /// Files that were left alone because they were dirty, by ``CacheEvictor/DirtyPolicy/refuse``.
  public let refused: Int
  /// Files that keep pages, with the reasons: those with most pages first, 1,000 at most.
  public let stayed: [StayedFile]
  /// Files that keep pages, in all.
  public let stayedFiles: Int
  /// True when it was cancelled: the rest was left alone.
  public let isInterrupted: Bool
  /// From the first call to the last one.
  public let nanoseconds: UInt64

  /// A file that keeps pages in memory.
  public struct StayedFile: Sendable, Hashable {
    /// Begins with the path that was given.
    public let path: FilePath
    /// What is in memory of it.
    public let pages: CachedPages
    /// Why, as far as it can be found out; the likeliest first, never empty.
    public let reasons: [Reason]
    /// Who holds it; nil when processes cannot be listed here.
    public let holders: FileHolders?
  }

  /// Why pages stay.
  public enum Reason: Sendable, Hashable {
    /// Processes map the file: a page that is in the page table of any of them is not dropped. Locked bytes cannot be at all.
    case mapped(mappings: Int, processes: Int, lockedBytes: Int64)
    /// Pages are dirty: stored after the sync, or left alone by request.
    case dirty(pages: Int64)
    /// Pages are on their way to the device.
    case inWriteBack(pages: Int64)
    /// The file lives in memory: there is no device to bring it back from (tmpfs, ramfs, huge pages).
    case noDevice(String)
    /// Some processes could not be looked into: one of them may map the file.
    case unknownProcesses(Int)
    /// None of these: somebody reads the file just now, or a kernel user holds the pages (a loop device, io_uring, direct I/O).
    case unknown
  }
}

// SPDX-License-Identifier: Apache-2.0

public import SystemPackage

/// Everything that was found out about one file.
public struct FileReport: Sendable {
  public let path: FilePath
  /// What it is.
  public let file: FileDescription
  /// The measured ways of using it. Empty for an empty file.
  public let results: [AccessResult]
  /// How the measuring went.
  public let measuring: Measuring
  /// What to do, in one sentence with the call to use.
  public let advice: String

  /// Conditions of the measurement.
  public struct Measuring: Sendable {
    /// True when the pages were evicted before each timing.
    public let isCold: Bool
    /// What became of the evictions; nil for warm measurements.
    public let eviction: Eviction?
    /// Bytes of one pass; below the file's size when only its beginning was measured and times are extrapolated.
    public let windowBytes: Int64
    /// Time that it took, in seconds.
    public let seconds: Double
    /// True when it was cancelled: rows are missing.
    public let isInterrupted: Bool
    /// True when every strategy of a row was proved to have seen the same bytes. False for files of /proc, whose content is
    /// another each time.
    public let isVerified: Bool
  }

  /// How well the file could be taken out of memory before cold timings.
  public struct Eviction: Sendable, Hashable {
    /// Evictions that were made.
    public internal(set) var count = 0
    /// The largest number of pages that stayed in memory after one; nil when the kernel does not tell this user.
    public internal(set) var pagesThatStayed: Int64? = 0
  }
}

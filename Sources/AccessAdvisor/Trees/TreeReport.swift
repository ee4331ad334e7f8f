// SPDX-License-Identifier: Apache-2.0

public import PageCache
public import SystemPackage

/// What a folder holds, by size of file, and what reading all of it costs in different ways.
public struct TreeReport: Sendable {
  public let path: FilePath
  /// The size classes that have files, smallest first.
  public let classes: [SizeClass]
  /// What was met on the way.
  public let walk: Walk
  /// Times for all files of the tree, each opened, read once and closed; nil when nothing could be measured.
  public let total: Total?
  public let isCold: Bool
  /// As ``FileReport/Measuring/eviction``.
  public let eviction: FileReport.Eviction?
  /// Time of walking and measuring, in seconds.
  public let seconds: Double
  /// True when it was cancelled: counts and times are of a part.
  public let isInterrupted: Bool
  /// What to do, in one sentence.
  public let advice: String

  /// Files of similar size.
  public struct SizeClass: Sendable {
    /// Largest size in bytes that belongs to it; nil for the last class.
    public let upperBound: Int64?
    public internal(set) var files = 0
    public internal(set) var bytes: Int64 = 0
    /// Files that the library would map for one pass.
    public internal(set) var wouldMap = 0
    /// Files that it would read.
    public internal(set) var wouldRead = 0
    /// Files with holes.
    public internal(set) var sparseFiles = 0
    /// Their bytes without storage.
    public internal(set) var holeBytes: Int64 = 0
    /// Share of the sampled files' bytes in memory before they were measured, 0 to 1; nil when unknown.
    public internal(set) var residentFraction: Double? = nil
    /// The measured sample; nil for empty files, and when there was no time.
    public internal(set) var sample: Sample? = nil
  }

  /// Files of a class that were measured, and what follows for all of the class.
  public struct Sample: Sendable {
    public let files: Int
    /// Bytes that were read of them.
    public let bytes: Int64
    /// Whole passes over all sampled files, extrapolated to the class.
    public let result: AccessResult
  }

  /// What was met on the way: counts, and the first failures.
  public typealias Walk = WalkCounts

  /// Seconds for one pass over each file of the tree, extrapolated from the samples.
  public struct Total: Sendable {
    public let alwaysMap: Double
    public let alwaysMapPopulate: Double
    public let alwaysRead: Double
    public let alwaysStream: Double
    /// Each file by the library's own choice.
    public let chosen: Double
    /// The best fixed strategy of each class.
    public let best: Double
  }
}

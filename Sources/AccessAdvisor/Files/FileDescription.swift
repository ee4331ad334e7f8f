// SPDX-License-Identifier: Apache-2.0

public import MemoryMapping

/// What a file is, as far as it matters for mapping and reading. A nil means that nobody could say.
public struct FileDescription: Sendable {
  /// Type, size, file system and the like, as the library itself sees them.
  public internal(set) var facts: FileFacts
  /// Pages of the file that are in memory; nil when the kernel does not tell this user.
  public let residentPages: Int64?
  /// Pages in the file, in units of ``pageSize``.
  public let pages: Int64
  /// Pages that wait to be written to the device.
  public let dirtyPages: Int64?
  /// Bytes of a page.
  public let pageSize: Int
  /// False when ``residentPages`` comes from a sample of a very large file.
  public let isResidencyExact: Bool
  /// Who has it open for writing.
  public let writers: Writers
  /// The parts without storage.
  public let holes: Holes?
  /// Age of the last change in seconds, at the time of the report.
  public let modifiedSecondsAgo: Double?
  /// What can go wrong with a mapping of it, or with its figures.
  public internal(set) var hazards: [Hazard]

  /// The share of the file in memory, 0 to 1.
  public var residentFraction: Double? {
    guard let residentPages else { return nil }
    return pages == 0 ? 1 : Double(residentPages) / Double(pages)
  }

  /// Whether somebody could change the file now.
  public enum Writers: Sendable, Hashable {
    /// Nobody has it open for writing, and no writable mapping of it exists.
    case none
    /// Somebody has; the process when it could be found.
    case present(process: Int64?, name: String?)
    /// Not to be found out: the file belongs to another user, or the file system has no leases.
    case unknown
  }

  /// Parts of a file that take no storage and read as zeros.
  public struct Holes: Sendable, Hashable {
    public let count: Int
    public let bytes: Int64
    /// False when the search was ended: there are at least as many.
    public let isComplete: Bool
  }
}

/// A danger or a reason for doubt, with its remedy.
public struct Hazard: Sendable, Hashable {
  /// Stable word for programs.
  public enum Code: String, Sendable, Hashable, CaseIterable {
    case network, relayed, synthetic, writers, growing, changing, sparse, dirty, hidden, memory, sampled
    case notEvicted = "not_evicted"
  }
  public let code: Code
  /// One sentence in plain words.
  public let sentence: String
}

// SPDX-License-Identifier: Apache-2.0

public import SystemPackage

/// Something about a process's mappings that can kill it or mislead it later, though all is well now.
public struct Hazard: Sendable, Hashable {
  /// What it is.
  public let kind: Kind
  /// How bad.
  public let severity: Severity
  /// Whose mappings.
  public let process: ProcessIdentity
  /// The file, as the process names it; nil for what is about the process as a whole, and for memory files.
  public let file: FilePath?
  /// The mappings, or the parts of them, by address. Empty for what is about the process as a whole.
  public let addresses: [Range<UInt64>]
  /// Bytes that it is about, or the number of mappings.
  public let amount: Int64?
  /// The limit that is near, in the unit of ``amount``.
  public let limit: Int64?
  /// What was found, as a clause.
  public let what: String
  /// What can happen, as a sentence.
  public let consequence: String
  /// What to do about it, as a sentence.
  public let remedy: String

  /// What can be wrong.
  public enum Kind: String, Sendable, Hashable, CaseIterable {
    /// Pages of the mapping lie past the end of its file: touching one is a SIGBUS.
    case pastEnd
    /// The same, in the shape of room that a program keeps for its file to grow into: 256 MiB and more past the end, eight times the
    /// file and more, up to a whole MiB; or more than the file system has in all. Nothing is wrong as long as the program
    /// does not touch it too early. A large file of such a size that was cut to a small one looks the same.
    case growthRoom
    /// The file has no name any more, and nothing took its place.
    case deleted
    /// Another file has taken its name: the process goes on with the old one.
    case replaced
    /// A shared mapping for writing shows parts of the file that have no storage: a store there needs space, and on a full file
    /// system it is a SIGBUS.
    case sparse
    /// The file lies on another machine, or behind a program that answers each request.
    case remote
    /// The process has nearly as many mappings as it may have (`vm.max_map_count`).
    case mappingLimit
    /// The process has locked nearly as much memory as it may lock (`RLIMIT_MEMLOCK`).
    case lockLimit
  }

  /// How bad it is.
  public enum Severity: Int, Sendable, Hashable, Comparable, CaseIterable {
    /// Worth to know.
    case notice
    /// Will be trouble if things go on so.
    case warning
    /// One access, one full disk or one call away from a killed process or a failed call.
    case danger

    public static func < (one: Severity, other: Severity) -> Bool { one.rawValue < other.rawValue }
  }
}

/// What a ``HazardScanner`` found.
public struct HazardReport: Sendable, Hashable {
  /// Worst first; then by process and address.
  public let hazards: [Hazard]
  /// How many processes were looked at, and how many could not be.
  public let processes: ProcessCounts
  /// Mappings of files that were looked at.
  public let mappings: Int
  /// Files of those mappings of which the present state could not be found out: without the right to follow
  /// /proc/PID/map_files, what is no longer at its path cannot be looked at.
  public let unknownFiles: Int
  /// True when it was cancelled: it is of a part.
  public let isInterrupted: Bool

  /// The worst of all; nil without any.
  public var worst: Hazard.Severity? { hazards.map(\.severity).max() }
  /// True when nothing that was asked for was left out.
  public var isComplete: Bool { processes.isComplete && unknownFiles == 0 && !isInterrupted }
}

// SPDX-License-Identifier: Apache-2.0

/// What is known about a file when the choice is made. A nil means: not asked, or not to be had.
///
/// Small files get few facts, because each one costs a system call, and reading such a file costs five of them.
public struct FileFacts: Sendable, Hashable {
  /// What kind of thing the descriptor stands for.
  public enum FileType: String, Sendable, Hashable {
    case regular, directory, pipe, socket, characterDevice, blockDevice, other
  }

  public var type: FileType
  /// Bytes, as fstat says; for a block device its size.
  public var size: Int64
  /// An "empty" file that has content, as those of /proc.
  public var hasContentWithoutSize = false
  /// Bytes of storage that the file really has; below ``size`` for a file with holes. C: `st_blocks`.
  public var allocated: Int64? = nil
  public var fileSystem: FileSystemKind? = nil
  /// Share of the file in the page cache, 0 to 1, from a sample. C: `cachestat`.
  public var residentFraction: Double? = nil
  /// False when the kernel does not tell this user what is in the page cache (a file that it neither owns nor may write).
  public var isResidencyPermitted = true
  /// How many pages one fault maps, from a sample: large when the file came into the cache in large folios.
  public var pagesPerFault: Int? = nil
  /// What such a fault took here, in seconds: more for the same number of pages when each is a folio of its own.
  public var faultSeconds: Double? = nil
  /// How far the device reads ahead, in bytes. C: `read_ahead_kb`.
  public var readAhead: Int64? = nil
  /// Memory that this process may still use, bytes: RAM or its cgroup's limit, whichever ends first.
  public var memoryRoom: Int64? = nil
  /// Address space that this process may still map, bytes. C: `RLIMIT_AS`.
  public var addressSpaceRoom: Int64? = nil

  public init(type: FileType, size: Int64) {
    self.type = type
    self.size = max(0, size)
  }

  /// On another machine.
  public var isRemote: Bool { fileSystem?.isRemote ?? false }

  /// True when part of the file has no storage: mapping and reading such parts makes zeros.
  public var hasHoles: Bool? { allocated.map { $0 < size } }
}

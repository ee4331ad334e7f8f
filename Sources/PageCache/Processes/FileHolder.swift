// SPDX-License-Identifier: Apache-2.0

/// A process that maps a file or has it open.
public struct FileHolder: Sendable, Hashable {
  /// Which process.
  public let process: ProcessIdentity
  /// Its mappings of the file, by address. A file that is mapped twice is here twice.
  public let mappings: [Mapping]
  /// Its open descriptors of the file, by number.
  public let descriptors: [Descriptor]

  /// One mapping of the file.
  public struct Mapping: Sendable, Hashable {
    /// Where it lies, and which part of the file it shows.
    public let mapping: ProcessMapping
    /// What of it is in memory; nil when the process ended before that could be read.
    public let memory: MappingMemory?
  }

  /// One open descriptor of the file.
  public struct Descriptor: Sendable, Hashable {
    /// Its number in the process.
    public let number: Int32
    /// What it may do; nil when it was closed before that could be read.
    public let access: Access?
    /// Where the next `read` or `write` happens, in bytes; nil when it was closed before that could be read.
    public let position: Int64?
  }

  /// How a descriptor was opened.
  public enum Access: String, Sendable, Hashable, CaseIterable {
    case read, write, readWrite
    /// A name only (O_PATH): nothing can be read or written by it.
    case path
  }

  /// The memory of all mappings together; what could not be read adds nothing.
  public var memory: MappingMemory {
    var sum = MappingMemory()
    for case let memory? in mappings.map(\.memory) { sum.add(memory) }
    return sum
  }
}

/// The processes that hold one file: who maps it, how often and how much of it, and who has it open.
///
/// Found by device and inode, so that names do not matter: hard links, renames, other mount points. What holds a file besides
/// processes is not seen: a loop device or a swap file made of it, a descriptor on its way through a socket, a file registered with
/// io_uring and closed. A process whose main thread has ended is looked at by another thread that lives. Threads that have descriptors of their own (`unshare(CLONE_FILES)`) are not looked into.
public struct FileHolders: Sendable, Hashable {
  /// The device that holds the file (`st_dev`).
  public let device: UInt64
  /// The file's number on it (`st_ino`).
  public let inode: UInt64
  /// By process number.
  public let holders: [FileHolder]
  /// How many processes were looked at, and how many could not be: what those hold is not in ``holders``.
  public let processes: ProcessCounts

  /// Mappings of the file in all known processes.
  public var mappingCount: Int { holders.reduce(0) { $0 + $1.mappings.count } }
  /// Open descriptors of the file in all known processes.
  public var descriptorCount: Int { holders.reduce(0) { $0 + $1.descriptors.count } }
  /// The memory of all known mappings together.
  public var memory: MappingMemory {
    var sum = MappingMemory()
    for holder in holders { sum.add(holder.memory) }
    return sum
  }
  /// Bytes that known processes have locked. C: `Locked` of smaps.
  public var lockedBytes: Int64 { memory.locked }
  /// Bytes that known processes map and that are not on the device; a page that two of them map counts twice.
  public var dirtyBytes: Int64 { memory.dirty }
  /// True when there is no other holder than these.
  public var isComplete: Bool { processes.isComplete }
}

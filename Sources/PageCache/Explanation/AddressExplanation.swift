// SPDX-License-Identifier: Apache-2.0

public import SystemPackage

/// What an address of a process is, and why an access to it fails or failed.
public struct AddressExplanation: Sendable, Hashable {
  /// The address that was asked for, or the one that the core names.
  public let address: UInt64
  /// Where the list of mappings comes from.
  public let source: Source
  /// The signal that ended the process; nil when it lives, or the source does not tell. It explains ``address`` only when it has the same
  /// page.
  public let signal: FaultSignal?
  /// The mapping that holds the address; nil when none does.
  public let mapping: ProcessMapping?
  /// Of an address that no mapping holds: the one that ends before it; nil when there is none.
  public let below: ProcessMapping?
  /// Of an address that no mapping holds: the one that begins after it; nil when there is none.
  public let above: ProcessMapping?
  /// Which byte of the mapped file it is; nil without a file.
  public let fileOffset: UInt64?
  /// Which page of the file, counted from 0; nil without a file.
  public let filePage: UInt64?
  /// What the file is like; nil without a file, and when it could not be found out.
  public let file: FileCondition?
  /// What the address is.
  public let place: Place
  /// Why an access fails, or would, in one or two sentences.
  public let cause: String
  /// What to do about it, as a sentence.
  public let remedy: String

  /// Where a list of mappings comes from.
  public enum Source: Sendable, Hashable {
    /// The kernel, now.
    case process(ProcessIdentity)
    /// A core: its path, and the number and the name of the process, where it tells them.
    case core(FilePath, process: Int32?, name: String?)
    /// A saved text of /proc/PID/maps.
    case savedMaps
  }

  /// What an address is.
  public enum Place: String, Sendable, Hashable, CaseIterable {
    /// In a mapping of a file, on a page that the file has.
    case file
    /// In a mapping of a file, on a page wholly past the end of it.
    case pastEnd
    /// In a mapping of a file of which nothing is known.
    case unknownFile
    /// In memory without a file.
    case memory
    /// In a mapping that allows nothing.
    case guardPage
    /// On the guard page of a stack, or close below one: the stack was too small.
    case stackOverflow
    /// In the first 64 KiB, where nothing is mapped: a nil pointer and an offset.
    case nullPointer
    /// In no mapping.
    case unmapped
    /// No address at all for programs: the kernel's half, or none.
    case notUser
  }

  /// What a mapped file is like.
  public struct FileCondition: Sendable, Hashable {
    /// Bytes of the file; nil when there is none any more.
    public let size: Int64?
    /// Whether the mapped file still stands at its path.
    public let naming: Naming
    /// True when the mapped file itself was looked at. False when it was the file that stands at its path now: the process is gone, and
    /// the file may have been another one, or another size, when it ran.
    public let isMappedFileItself: Bool
    /// The name of the file system; nil when it did not say.
    public let fileSystem: String?
    /// True when the page has no storage yet, so that a store there needs space; nil when that is not known.
    public let isHole: Bool?
    /// Bytes that the file system has left; nil when it did not say.
    public let freeBytes: Int64?

    /// Whether the mapped file is the one at its path.
    public enum Naming: String, Sendable, Hashable, CaseIterable {
      /// It is, as far as the source can tell.
      case present
      /// Nothing is there.
      case deleted
      /// Another file is.
      case replaced
      /// It could not be found out.
      case unknown
    }
  }
}

// SPDX-License-Identifier: Apache-2.0

extension MappedFile {
  /// How to map. The defaults suit a program that reads a file it does not control.
  public struct Options: Sendable, Hashable {
    /// Load every page now instead of at its first touch. Costs the whole read up front; for files that will all be used.
    /// C: `MAP_POPULATE` where the system has it; failures to load are not reported by it, see ``MappedFile/probe(_:)``.
    public var populate = false
    /// Keep the pages in memory. Needs room under RLIMIT_MEMLOCK.
    public var lock = Lock.none
    /// Whether to ask for transparent huge pages. A hint; files get them only where the file system has large folios.
    public var hugePages = HugePages.system
    /// What a forked child sees.
    public var fork = Fork.inherit
    /// Whether a core dump holds the pages.
    public var coreDump = CoreDump.include
    /// A name in /proc/PID/maps, where the kernel offers that; best effort.
    public var name: String? {
      get { nameBytes.map { String(decoding: $0, as: UTF8.self) } }
      set { nameBytes = newValue.map { Array($0.utf8) } }
    }
    /// Not a String: the compiler (6.3) lets a noncopyable value that holds one be consumed while a span borrows it, and the
    /// owner holds these options.
    private var nameBytes: [UInt8]? = nil
    /// Make the address congruent to the file offset modulo this power of two, for instance 2 MiB so that one fault can map
    /// a whole large folio. Bytes; nil leaves the address to the kernel.
    public var alignment: Int? = nil
    /// Do not reserve swap for the mapping. C: `MAP_NORESERVE`.
    public var noReserve = false
    /// What lost pages show until the scope ends and throws. Zeros are the usual choice; 0xFF makes length-prefixed and
    /// checksummed formats fail early instead of looping over empty records. A part of more than 1 GiB that is lost at once
    /// reads as zeros whatever is asked here.
    public var fillByte: UInt8 = 0
    /// False refuses a path whose last part is a symbolic link. C: `O_NOFOLLOW`.
    public var followsSymbolicLinks = true
    /// Keep a descriptor for the life of the mapping. False saves one per mapping, and gives up ``MappedFile/recover()``,
    /// size and stamp checks, the reason of a fault, and exact copies after one.
    public var keepsDescriptor = true
    /// Whether changes of others to the file show up.
    public var sharing = Sharing.shared
    /// Rule out that the file is cut under the mapping.
    public var stability = Stability.none

    public init() {}

    public enum Lock: Sendable, Hashable {
      case none
      /// All pages now. C: `mlock`.
      case now
      /// Each page once it is touched. C: `mlock2(MLOCK_ONFAULT)`.
      case onFault
    }
    public enum HugePages: Sendable, Hashable { case system, prefer, avoid }
    public enum Fork: Sendable, Hashable {
      case inherit
      /// The child has a hole there. C: `MADV_DONTFORK`.
      case omit
    }
    public enum CoreDump: Sendable, Hashable {
      case include
      /// C: `MADV_DONTDUMP`.
      case exclude
    }
    public enum Sharing: Sendable, Hashable {
      /// C: `MAP_SHARED`.
      case shared
      /// C: `MAP_PRIVATE`. No snapshot: pages that this process has not written still follow the file.
      case `private`
    }
    /// Ways to rule out a loss beforehand.
    public enum Stability: Sendable, Hashable {
      /// The file may change; the reading levels say what happens then.
      case none
      /// The file is a memory file with a seal against shrinking; refused otherwise (`notSealed`).
      case sealed
      /// Hold a read lease: nobody can open the file for writing or cut it without waiting for us (up to the system's
      /// lease-break time, 45 s by default). Refused (`leaseRefused`) while somebody has it open for writing. Needs to own
      /// the file. Linux only. The notice of a waiting writer comes as SIGURG, which is ignored by default.
      case lease
      /// Map a private copy: a reflink where the file system offers it and the folder is writable, else a copy in memory.
      /// The source's stamp is compared before and after; a file that keeps changing is refused (`changed`).
      case snapshot
    }
  }
}

// SPDX-License-Identifier: Apache-2.0

internal import CPlatform
internal import MemoryMapping
internal import SystemPackage

/// Memory that several processes of one host have in common, made of named parts.
///
/// ```swift
/// // One process makes it and hands it out:
/// let region = try SharedRegion(creating: RegionLayout(.counters("served", count: 2), .event("changed")))
/// let server = try region.serve(at: "/run/shop/counters.sock")
///
/// // Another one takes part:
/// let region = try SharedRegion(connectingTo: "/run/shop/counters.sock")
/// try region.counters("served").add(1, at: 0)
/// ```
///
/// **Where it lives.** Without a name it is a memory file (`memfd`): passed over a Unix socket, or inherited. Its size is sealed, so no peer can cut it, and it
/// goes away with its last user, however that one ends. With a name it is a file in a private folder (``RuntimeFolder``); peers find it there, and
/// a leftover of killed processes is removed when the kernel proves that nobody uses it. Either way all its memory is there when it is made: too small
/// a `/dev/shm` is the error `noSpace` here and no signal later.
///
/// **Who takes part.** A handle that writes has a place in the region's peer table for as long as it lives, proved by a lock that the kernel gives
/// back when the process ends (``PeerToken``). ``SharedRegionReader`` only looks, and leaves no trace.
///
/// **fork.** The child inherits the memory and not the place: calls in the child throw `forked` until ``attachAfterFork()``.
///
/// C counterparts: `memfd_create`, `fallocate`, `F_ADD_SEALS`, `mmap`, `F_OFD_SETLK`.
@safe
public struct SharedRegion: ~Copyable, Sendable {
  internal private(set) var storage: RegionStorage
  internal let label: String
  /// See ``distrustingPeers()``.
  public let distrustsPeers: Bool

  internal init(_ storage: RegionStorage, label: String, distrustsPeers: Bool = false) {
    self.storage = storage
    self.label = label
    self.distrustsPeers = distrustsPeers
  }

  /// Makes a region without a name, as a memory file whose size is sealed.
  ///
  /// - Parameters:
  ///   - layout: its parts.
  ///   - label: what others see this peer as; the program's name by default. At most 48 bytes of it are kept.
  /// - Throws: ``SharedMemoryError``: `invalidArgument`, `noSpace` (more than the memory group has left, or than the system has),
  ///   `tooManyDescriptors`, `memoryExhausted`.
  public init(creating layout: RegionLayout, label: String? = nil) throws(SharedMemoryError) {
    let flags = UInt32(PGW_MEMFD_CLOEXEC | PGW_MEMFD_ALLOW_SEALING)
    let file = OwnedDescriptor(number: unsafe pgw_memfd_create("pagewise-region", flags))
    // The kernel makes memory files that every user who has one may open again for writing.
    guard file.number >= 0, pgw_set_mode(file.number, 0o600) == 0 else { throw .last("create") }
    try RegionBuilder.build(layout, in: file.number, name: nil)
    // A system without seals (Darwin) goes on without: the region then says so.
    let seals = CInt(PGW_SEAL_SHRINK | PGW_SEAL_GROW)
    if pgw_add_seals(file.number, seals) != 0, SharedMemoryError.code(of: .current) != .notSupported {
      throw .last("seal")
    }
    let label = label ?? Self.programName
    self.init(try RegionStorage(attaching: file, name: nil, canWrite: true, label: label), label: label)
  }

  /// The program's name without its folder.
  internal static var programName: String {
    CommandLine.arguments.first.flatMap { FilePath($0).lastComponent?.string } ?? "unnamed"
  }

  /// The name of a named region, or the socket's path; nil for others.
  public var name: String? { storage.name }
  /// 128 random bits: the same for everybody who is attached to this region, and for no other.
  public var identifier: RegionIdentifier { storage.header.identifier }
  /// Bytes of the whole region.
  public var byteCount: Int { storage.header.byteCount }
  /// What the region holds.
  public var layout: RegionLayout { storage.header.layout }
  /// True when no peer can cut the region: then no page of it can be lost.
  public var isSealed: Bool { storage.isSealed }
  /// This handle among the peers.
  public var token: PeerToken { storage.token }
  /// True in a child of the process that attached: see ``attachAfterFork()``.
  public var isForked: Bool { storage.isForeign }

  /// Everybody who has a place now, dead or alive, in the order of the places.
  ///
  /// - Complexity: about a microsecond for each place that is taken.
  public borrowing func peers() -> [Peer] { storage.peers.entries() }

  /// Whether the peer is gone, by proof of the kernel: its process ended (also when nobody has waited for it yet), called exec, or gave its handle
  /// up. A stopped process lives. False when nothing proves it.
  ///
  /// - Complexity: a microsecond. C: `fcntl(F_OFD_GETLK)`.
  public borrowing func isDead(_ token: PeerToken) -> Bool { storage.peers.isDead(token) }

  /// Takes a place among the peers for a forked child, which has none. Handles of parts that were made before the fork stay unusable in the
  /// child.
  ///
  /// - Throws: ``SharedMemoryError``: `peersExhausted`, `permissionDenied` when the region's file may not be opened again by this user.
  public mutating func attachAfterFork() throws(SharedMemoryError) {
    guard storage.isForeign else { return }
    let copy = OwnedDescriptor(number: pgw_token_describe(storage.descriptor, true))
    guard copy.number >= 0 else { throw .last("attach to", region: storage.name) }
    let (header, _) = try RegionStorage.readHeader(copy.number, name: storage.name)
    // Where the description could not be opened in the child, its number stands for something else.
    guard header.identifier == storage.header.identifier else {
      throw SharedMemoryError(.forked, "attach to", region: storage.name)
    }
    storage = try RegionStorage(attaching: copy, name: storage.name, canWrite: true, label: label)
  }

  /// From now on nobody gets a way to write to this region: not by its descriptor, not through /proc, not by changing a mapping's protection. Handles
  /// that write now, like this one, go on. It cannot be undone. For the one writer of a region that many read.
  ///
  /// A region with a name cannot be sealed: its file becomes readable alone, which its owner could undo and no other user.
  ///
  /// - Throws: ``SharedMemoryError``: `notSupported`, `permissionDenied`. C: `F_SEAL_FUTURE_WRITE`; `fchmod`.
  public borrowing func demote() throws(SharedMemoryError) {
    try check("demote")
    if pgw_add_seals(storage.descriptor, CInt(PGW_SEAL_FUTURE_WRITE | PGW_SEAL_SEAL)) == 0 { return }
    guard storage.name != nil else { throw .last("demote") }
    guard pgw_set_mode(storage.descriptor, 0o400) == 0 else { throw .last("demote", region: storage.name) }
  }

  /// Runs `body` over the plain bytes of a part, which all peers have in common. Nothing orders what they write at the same time: agree on who
  /// writes what, or use the other kinds of parts.
  ///
  /// - Parameters:
  ///   - part: its name; a part of kind `bytes`.
  ///   - body: must not suspend. The span cannot leave it.
  /// - Throws: ``SharedMemoryError``: `noSuchPart`, `layoutDiffers`, `forked`; `faulted` when a page was lost before the end.
  public borrowing func withBytes<R>(_ part: String, _ body: (inout MutableRawSpan) -> R) throws(SharedMemoryError) -> R
  {
    let placed = try storage.part(part, .bytes, "use")
    if distrustsPeers { throw SharedMemoryError(.distrusted, "use", region: name, part: part) }
    var span = unsafe MutableRawSpan(_unsafeStart: storage.base + placed.offset, byteCount: placed.part.byteCount)
    let result = body(&span)
    try storage.checkFault("use")
    return result
  }

  internal borrowing func check(_ operation: String) throws(SharedMemoryError) {
    if storage.isForeign { throw SharedMemoryError(.forked, operation, region: storage.name) }
  }

  /// One place of the peer table, as it was read.
  public struct Peer: Sendable, Hashable {
    public let token: PeerToken
    /// The process's number in ``pidNamespace``.
    public let process: Int32
    /// The inode of its PID namespace: where it differs from this process's, ``process`` means nothing here.
    public let pidNamespace: UInt64
    /// Nanoseconds since 1970.
    public let attachedNanoseconds: UInt64
    /// What it called itself.
    public let label: String
    /// Proved by the kernel when this was read.
    public let isDead: Bool
  }
}

/// A region to look at: no place among the peers, no way to change a byte.
///
/// Others cannot tell that it is there, and its end needs no recovery.
@safe
public struct SharedRegionReader: ~Copyable, Sendable {
  internal let storage: RegionStorage

  internal init(_ storage: RegionStorage) { self.storage = storage }

  /// As ``SharedRegion/name``.
  public var name: String? { storage.name }
  /// As ``SharedRegion/identifier``.
  public var identifier: RegionIdentifier { storage.header.identifier }
  /// Bytes of the whole region.
  public var byteCount: Int { storage.header.byteCount }
  /// What the region holds.
  public var layout: RegionLayout { storage.header.layout }
  /// True when no peer can cut the region.
  public var isSealed: Bool { storage.isSealed }

  /// As ``SharedRegion/peers()``.
  public borrowing func peers() -> [SharedRegion.Peer] { storage.peers.entries() }
  /// As ``SharedRegion/isDead(_:)``.
  public borrowing func isDead(_ token: PeerToken) -> Bool { storage.peers.isDead(token) }

  /// Copies plain bytes of a part while others may write them.
  ///
  /// - Parameters:
  ///   - part: a part of plain bytes.
  ///   - range: in bytes from the start of the part.
  /// - Throws: ``SharedMemoryError``: `noSuchPart`, `layoutDiffers`, `invalidArgument`, `faulted`.
  public borrowing func bytes(_ part: String, _ range: Range<Int>) throws(SharedMemoryError) -> [UInt8] {
    try storage.bytes(part, range)
  }
}

extension RegionFormat.Header {
  internal var layout: RegionLayout {
    var layout = RegionLayout()
    layout.peerCapacity = peerCapacity
    for placed in parts { layout.add(placed.part) }
    return layout
  }
}

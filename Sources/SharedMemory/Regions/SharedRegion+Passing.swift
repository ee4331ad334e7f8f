// SPDX-License-Identifier: Apache-2.0
//
// Passing a region over a Unix socket: one message of 40 bytes with two descriptors.
//
//   offset  size
//        0     8  magic "PGWSEND\n"
//        8     4  1: read and write, 2: read only
//       12     4  0
//       16    16  the region's identifier
//       32     8  0
//
// Both are descriptions that were opened for this one receiver. The lock of the first is the receiver's proof of life, and shared with nobody; through the
// second it maps (see RegionStorage). Those that read only are opened for reading, so the receiver's mapping can never be made writable; that it cannot open the file anew for writing is what
// `demote()` sees to, and file modes where the receiver is another user.

internal import CPlatform
internal import MemoryMapping
public import SystemPackage

/// What a peer that gets a region over a socket may do with it.
public enum RegionAccess: UInt32, Sendable, Hashable {
  case readWrite = 1
  case readOnly = 2
}

/// One message as it was received.
internal struct RegionMessage: ~Copyable {
  /// The receiver's; nothing about them is believed yet.
  internal let file: OwnedDescriptor
  internal let mapping: OwnedDescriptor
  internal let access: RegionAccess
  internal let identifier: RegionIdentifier

  internal static let magic = Array("PGWSEND\n".utf8)
  internal static let byteCount = 40

  internal static func encode(_ access: RegionAccess, _ identifier: RegionIdentifier) -> [UInt8] {
    var bytes = magic + [UInt8](repeating: 0, count: byteCount - magic.count)
    bytes.store(access.rawValue, at: 8)
    bytes.store(identifier.high, at: 16)
    bytes.store(identifier.low, at: 24)
    return bytes
  }

  /// Waits for a message.
  internal init(from socket: CInt, name: String?, until deadline: Deadline) throws(SharedMemoryError) {
    switch pgw_wait_for_either(socket, -1, deadline.nanoseconds) {
    case 1: break
    case 0: throw SharedMemoryError(.timedOut, "receive", region: name, note: "the sender has not answered")
    default: throw .last("receive", region: name)
    }
    var bytes = [UInt8](repeating: 0, count: Self.byteCount + 1)
    var descriptors: [CInt] = [-1, -1]
    let got = unsafe bytes.withUnsafeMutableBytes { bytes in
      unsafe descriptors.withUnsafeMutableBufferPointer {
        unsafe pgw_receive_descriptors(socket, $0.baseAddress, bytes.baseAddress, bytes.count)
      }
    }
    let owned = OwnedDescriptor(number: descriptors[0])
    let second = OwnedDescriptor(number: descriptors[1])
    guard got != 0 else {
      throw SharedMemoryError(.ended, "receive", region: name, note: "the sender closed the socket")
    }
    guard got > 0 else { throw .last("receive", region: name) }
    guard owned.number >= 0, second.number >= 0 else {
      throw SharedMemoryError(.notARegion, "receive", region: name, note: "the message has no two descriptors")
    }
    guard got == Self.byteCount, bytes.starts(with: Self.magic), let access = RegionAccess(rawValue: bytes.load(at: 8))
    else {
      throw SharedMemoryError(.notARegion, "receive", region: name, note: "the message is none of a region")
    }
    file = owned
    mapping = second
    self.access = access
    identifier = RegionIdentifier(high: bytes.load(at: 16), low: bytes.load(at: 24))
  }

  internal consuming func attach(name: String?, canWrite: Bool, label: String) throws(SharedMemoryError)
    -> RegionStorage
  {
    try RegionStorage(attaching: file, mapping: mapping, name: name, canWrite: canWrite, label: label)
  }
}

extension RegionStorage {
  /// A description of the region's file for one other process.
  internal func describe(for access: RegionAccess, _ operation: String) throws(SharedMemoryError) -> OwnedDescriptor {
    if isForeign { throw SharedMemoryError(.forked, operation, region: name) }
    let copy = OwnedDescriptor(number: pgw_token_describe(descriptor, access == .readWrite))
    guard copy.number >= 0 else { throw .last(operation, region: name) }
    return copy
  }

  internal func send(to socket: CInt, _ access: RegionAccess) throws(SharedMemoryError) {
    let token = try describe(for: access, "send")
    let mapping = try describe(for: access, "send")
    let message = RegionMessage.encode(access, header.identifier)
    let descriptors = [token.number, mapping.number]
    let result = unsafe message.withUnsafeBytes { bytes in
      unsafe descriptors.withUnsafeBufferPointer {
        unsafe pgw_send_descriptors(socket, $0.baseAddress, CInt($0.count), bytes.baseAddress, bytes.count)
      }
    }
    guard result == 0 else { throw .last("send", region: name) }
  }
}

extension SharedRegion {
  /// Sends the region over a connected Unix socket, for one receiver.
  ///
  /// - Parameters:
  ///   - socket: `SOCK_SEQPACKET` or `SOCK_STREAM`.
  ///   - access: what the receiver may do.
  /// - Throws: ``SharedMemoryError``: `ended` when nobody listens any more, `tooManyDescriptors`, `forked`. C: `sendmsg(SCM_RIGHTS)`.
  public borrowing func send(over socket: FileDescriptor, as access: RegionAccess = .readWrite)
    throws(SharedMemoryError)
  {
    try storage.send(to: socket.rawValue, access)
  }

  /// Receives a region over a connected Unix socket. Waits for it.
  ///
  /// - Parameters:
  ///   - socket: `SOCK_SEQPACKET` or `SOCK_STREAM`, not `O_NONBLOCK`.
  ///   - label: what others see this peer as; the program's name by default.
  ///   - deadline: until when to wait.
  /// - Throws: ``SharedMemoryError``: `timedOut`, `ended`, `notARegion`, `damaged`, `versionUnsupported`, `peersExhausted`; `permissionDenied` when it was sent to
  ///   be read only.
  @available(*, noasync, message: "it blocks the thread")
  public init(receivingFrom socket: FileDescriptor, label: String? = nil, until deadline: Deadline = .never)
    throws(SharedMemoryError)
  {
    let label = label ?? Self.programName
    self.init(
      try Self.receive(socket.rawValue, name: nil, canWrite: true, label: label, until: deadline), label: label)
  }

  internal static func receive(
    _ socket: CInt, name: String?, canWrite: Bool, label: String, until deadline: Deadline
  ) throws(SharedMemoryError) -> RegionStorage {
    let message = try RegionMessage(from: socket, name: name, until: deadline)
    let (identifier, access) = (message.identifier, message.access)
    guard !canWrite || access == .readWrite else {
      throw SharedMemoryError(.permissionDenied, "receive", region: name, note: "it was sent to be read only")
    }
    let storage = try message.attach(name: name, canWrite: canWrite, label: label)
    guard storage.header.identifier == identifier else {
      throw SharedMemoryError(.notARegion, "receive", region: name, note: "the message is about another region")
    }
    return storage
  }

  /// Takes part in the region that ``serve(at:as:)`` hands out.
  ///
  /// - Parameters:
  ///   - path: of the server's socket.
  ///   - label: what others see this peer as; the program's name by default.
  ///   - deadline: until when to wait for a server that does not answer: one that is stopped, or busy.
  /// - Throws: ``SharedMemoryError``: `notFound` when nobody serves there, else as ``init(receivingFrom:label:until:)``.
  @available(*, noasync, message: "it blocks the thread")
  public init(connectingTo path: FilePath, label: String? = nil, until deadline: Deadline = .never)
    throws(SharedMemoryError)
  {
    let label = label ?? Self.programName
    let socket = try Self.connect(path, until: deadline)
    self.init(
      try Self.receive(socket.number, name: path.string, canWrite: true, label: label, until: deadline), label: label)
  }

  internal static func connect(_ path: FilePath, until deadline: Deadline) throws(SharedMemoryError) -> OwnedDescriptor
  {
    let socket = OwnedDescriptor(
      number: unsafe path.withPlatformString { unsafe pgw_socket_connect($0, deadline.nanoseconds) })
    guard socket.number >= 0 else { throw .last("connect to", region: path.string) }
    return socket
  }

  /// A description of the region for a program that this process starts: it stays open over exec. Close it here once the program runs.
  ///
  /// - Throws: ``SharedMemoryError``: `tooManyDescriptors`, `forked`.
  public borrowing func descriptorForChild(as access: RegionAccess = .readWrite) throws(SharedMemoryError)
    -> FileDescriptor
  {
    let copy = try storage.describe(for: access, "pass on")
    let number = pgw_duplicate_inherited(copy.number)
    guard number >= 0 else { throw .last("pass on", region: storage.name) }
    return FileDescriptor(rawValue: number)
  }

  /// Takes part in a region whose description this program has inherited; the descriptor becomes this value's.
  ///
  /// - Throws: ``SharedMemoryError``: `notARegion`, `damaged`, `permissionDenied`.
  public init(inheriting descriptor: FileDescriptor, label: String? = nil) throws(SharedMemoryError) {
    let label = label ?? Self.programName
    let file = try Self.inherit(descriptor, canWrite: true)
    self.init(try RegionStorage(attaching: file, name: nil, canWrite: true, label: label), label: label)
  }

  /// A description of this process's own: the inherited one is that of everybody who was given the descriptor, or was started while it was open, and
  /// a lock on it would live as long as the last of them. Where the file cannot be opened anew (after ``demote()``), it has to do.
  internal static func inherit(_ descriptor: FileDescriptor, canWrite: Bool) throws(SharedMemoryError)
    -> OwnedDescriptor
  {
    let given = OwnedDescriptor(number: pgw_close_on_exec(descriptor.rawValue))
    guard given.number >= 0 else { throw .last("inherit") }
    // Opened anew by its owner, one for reading could become one for writing.
    guard !canWrite || pgw_can_write(given.number) else {
      throw SharedMemoryError(.permissionDenied, "inherit", note: "the descriptor is for reading alone")
    }
    let own = OwnedDescriptor(number: pgw_token_describe(given.number, canWrite))
    return own.number >= 0 ? own : given
  }
}

extension SharedRegionReader {
  /// As ``SharedRegion/init(receivingFrom:label:until:)``, to look only.
  @available(*, noasync, message: "it blocks the thread")
  public init(receivingFrom socket: FileDescriptor, until deadline: Deadline = .never) throws(SharedMemoryError) {
    self.init(try SharedRegion.receive(socket.rawValue, name: nil, canWrite: false, label: "", until: deadline))
  }

  /// As ``SharedRegion/init(connectingTo:label:until:)``, to look only.
  @available(*, noasync, message: "it blocks the thread")
  public init(connectingTo path: FilePath, until deadline: Deadline = .never) throws(SharedMemoryError) {
    let socket = try SharedRegion.connect(path, until: deadline)
    self.init(
      try SharedRegion.receive(socket.number, name: path.string, canWrite: false, label: "", until: deadline))
  }

  /// As ``SharedRegion/init(inheriting:label:)``, to look only.
  public init(inheriting descriptor: FileDescriptor) throws(SharedMemoryError) {
    let file = try SharedRegion.inherit(descriptor, canWrite: false)
    self.init(try RegionStorage(attaching: file, name: nil, canWrite: false, label: ""))
  }
}

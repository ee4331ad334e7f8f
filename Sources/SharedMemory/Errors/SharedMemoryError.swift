// SPDX-License-Identifier: Apache-2.0

public import SystemPackage

/// What went wrong with shared memory, where, and what to do about it.
///
/// New codes may be added: switch over ``code`` with a default. ``description`` is one line that ends with a remedy.
public struct SharedMemoryError: Error, Sendable, Hashable {
  /// The kind of failure.
  public var code: Code
  /// What was being done, as it stands in messages: `create`, `attach to`, `receive`.
  public var operation: String
  /// The region's name or path, where it has one.
  public var region: String?
  /// The part of the region, where one is meant.
  public var part: String?
  /// The kernel's error number, or nil where the failure was found without a failed call.
  public var errno: Errno?
  /// A fact about this failure that ``code`` does not tell.
  public var note: String?
  /// What to do about this failure, where the ``code``'s own remedy does not fit: a sentence.
  public var advice: String?

  public init(
    _ code: Code, _ operation: String, region: String? = nil, part: String? = nil, errno: Errno? = nil,
    note: String? = nil, advice: String? = nil
  ) {
    self.code = code
    self.operation = operation
    self.region = region
    self.part = part
    self.errno = errno
    self.note = note
    self.advice = advice
  }

  /// The kind of a failure. The set is open: later versions may add codes.
  public struct Code: Sendable, Hashable, CustomStringConvertible {
    internal enum Value: UInt8, Sendable, Hashable, CaseIterable {
      case notFound, alreadyExists, permissionDenied, noSpace, memoryExhausted, tooManyDescriptors, invalidArgument
      case inUse, notARegion, versionUnsupported, damaged, layoutDiffers, noSuchPart, unsealed, insecureFolder,
        peersExhausted
      case forked, ended, faulted, notSupported, peerMisbehaved, timedOut, taken, broken, deadlock, distrusted, other
    }
    internal let value: Value
    internal init(_ value: Value) { self.value = value }

    /// The code's name, stable, for logs and JSON.
    public var description: String { "\(value)" }

    /// No region of this name, or nobody listens at the socket.
    public static let notFound = Code(.notFound)
    /// There is a region of this name.
    public static let alreadyExists = Code(.alreadyExists)
    /// The kernel refuses this process the access.
    public static let permissionDenied = Code(.permissionDenied)
    /// The file system of the runtime folder is full: a small /dev/shm, or the limit of the memory group.
    public static let noSpace = Code(.noSpace)
    /// The kernel has no memory or no addresses for it.
    public static let memoryExhausted = Code(.memoryExhausted)
    /// The process is out of file descriptors, or holds more regions than can be watched over a fork.
    public static let tooManyDescriptors = Code(.tooManyDescriptors)
    /// A size, a count or a name outside its limits.
    public static let invalidArgument = Code(.invalidArgument)
    /// Somebody is attached to it.
    public static let inUse = Code(.inUse)
    /// The bytes are not those of a region.
    public static let notARegion = Code(.notARegion)
    /// A region of a later or a different version.
    public static let versionUnsupported = Code(.versionUnsupported)
    /// The header contradicts itself or the file's size, or its checksum is wrong.
    public static let damaged = Code(.damaged)
    /// The part has another kind, size or element type than the caller's.
    public static let layoutDiffers = Code(.layoutDiffers)
    /// The region has no part of this name.
    public static let noSuchPart = Code(.noSuchPart)
    /// The region's file can be cut by its peers, and the caller asked for one that cannot.
    public static let unsealed = Code(.unsealed)
    /// The runtime folder can be changed by others.
    public static let insecureFolder = Code(.insecureFolder)
    /// All slots of the region's peer table belong to living peers.
    public static let peersExhausted = Code(.peersExhausted)
    /// The handle was made before a fork, and this is the child.
    public static let forked = Code(.forked)
    /// The other end is gone, and nothing more will come.
    public static let ended = Code(.ended)
    /// A page of the region was lost: somebody cut its file, or its memory failed.
    public static let faulted = Code(.faulted)
    /// The kernel or the platform cannot do it.
    public static let notSupported = Code(.notSupported)
    /// A peer has written what no peer that keeps to the protocol writes.
    public static let peerMisbehaved = Code(.peerMisbehaved)
    /// The deadline passed.
    public static let timedOut = Code(.timedOut)
    /// A living peer has it, and only so many can.
    public static let taken = Code(.taken)
    /// What the mutex protects was given up: its owner died, and whoever came next could not repair it. For ever.
    public static let broken = Code(.broken)
    /// The thread has the mutex already.
    public static let deadlock = Code(.deadlock)
    /// The handle distrusts its peers, and this would lend them or us each other's memory.
    public static let distrusted = Code(.distrusted)
    /// Anything else: see ``SharedMemoryError/errno``.
    public static let other = Code(.other)
  }
}

extension SharedMemoryError: CustomStringConvertible {
  /// One line: what failed, on which region, why, and the remedy.
  public var description: String {
    var text = "cannot \(operation)"
    if let part { text += " '\(part)' of" }
    if let region { text += " region '\(region)'" } else { text += " the region" }
    text += ": \(reason)"
    if let note { text += " (\(note))" }
    if let errno, code == .other { text += " [\(errno)]" }
    return text + ". " + remedy
  }

  /// Why it failed, in one clause without a full stop.
  public var reason: String { code.text.reason }
  /// What to do about it, as a sentence.
  public var remedy: String { advice ?? code.text.remedy }
}

extension SharedMemoryError.Code {
  internal static var all: [Self] { Value.allCases.map { Self($0) } }

  internal var text: (reason: String, remedy: String) {
    switch value {
    case .notFound: ("there is none", "Check the name with `pagewise region list`, and that its creator runs.")
    case .alreadyExists:
      (
        "there is one of this name",
        "Open it instead, choose another name, or remove it with `pagewise region gc --remove` when it is stale."
      )
    case .permissionDenied: ("permission denied", "Run as the region's owner, or have it passed over a socket.")
    case .noSpace:
      (
        "there is no room for it in memory",
        "Ask for less, or give the runtime folder's file system more room (Docker: --shm-size)."
      )
    case .memoryExhausted: ("the kernel has no memory for it", "Free memory, or ask for less.")
    case .tooManyDescriptors: ("no file descriptor is left", "Close some, or raise the limit with `ulimit -n`.")
    case .invalidArgument: ("an argument is outside its limits", "See the limits in the documentation of the call.")
    case .inUse:
      ("somebody is attached to it", "Have its users end first, or force it; `pagewise region inspect` names them.")
    case .notARegion: ("it is not a region", "Check that it is the right file or descriptor.")
    case .versionUnsupported: ("it has another version", "Build both sides with the same version of the library.")
    case .damaged: ("its header is damaged", "Stop its users, remove it and have it made again.")
    case .layoutDiffers:
      (
        "its layout is another one",
        "Build both sides from the same declarations; `pagewise region inspect` shows the region's."
      )
    case .noSuchPart: ("it has no such part", "`pagewise region inspect` lists its parts.")
    case .unsealed:
      ("its size is not sealed", "Have its creator pass a memory file; a file with a name cannot be sealed.")
    case .insecureFolder:
      (
        "others can change its folder",
        "Give the folder to this user alone: chown and chmod 0700, and no symbolic link."
      )
    case .peersExhausted:
      ("all its places for peers are taken by living ones", "Detach some, or make it with more places.")
    case .forked: ("the handle belongs to the parent process", "Attach in the child: call `attachAfterFork()`.")
    case .ended: ("the other end is gone", "Open it again when there is a new one.")
    case .faulted:
      (
        "a page of it was lost",
        "Somebody cut the file, or memory failed: have the region made again, as a memory file where possible."
      )
    case .notSupported: ("this system cannot do it", "See the documentation of the call.")
    case .peerMisbehaved:
      ("a peer broke the protocol", "Detach, and find out which peer it was before you make the region again.")
    case .timedOut:
      ("the deadline passed", "Wait longer, or see with `pagewise region inspect` who lives and what waits.")
    case .taken: ("a living peer has it", "Let that one end first; `pagewise region inspect` names it.")
    case .broken: ("its owner died, and what it protects could not be repaired", "Have the region made again.")
    case .deadlock: ("this thread has it already", "Do not lock it again inside the closure.")
    case .distrusted:
      ("the handle distrusts its peers, who could change this meanwhile", "Copy instead, or use a handle that trusts.")
    case .other: ("the system call failed", "See the error number.")
    }
  }
}

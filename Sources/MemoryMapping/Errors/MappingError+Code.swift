// SPDX-License-Identifier: Apache-2.0

extension MappingError {
  /// The kind of a failure. The set is open: later versions may add codes.
  public struct Code: Sendable, Hashable, CustomStringConvertible {
    @usableFromInline internal enum Value: UInt8, Sendable, Hashable, CaseIterable {
      case notFound, permissionDenied, isDirectory, unsupportedFileType, symbolicLink, tooManyOpenFiles
      case addressSpaceExhausted, memoryExhausted, mappingLimitReached, lockLimitReached, invalidRange, truncated
      case changed, noSpace, inputOutput, memoryFailure, faulted, stale, notSupported, notSealed, leaseRefused
      case readOnly, limitExceeded, interrupted, pathInvalid, invalidLayout, busy, alreadyExists, syncFailed, corrupt
      case wrongState, unknownFormat, other
    }
    @usableFromInline internal let value: Value
    @inlinable internal init(_ value: Value) { self.value = value }

    /// The code's name, stable, for logs and JSON.
    public var description: String { "\(value)" }

    /// No file at this path.
    public static let notFound = Code(.notFound)
    /// The kernel refuses this process the access.
    public static let permissionDenied = Code(.permissionDenied)
    /// The path is a directory.
    public static let isDirectory = Code(.isDirectory)
    /// A pipe, socket, terminal or other device where a file is needed.
    public static let unsupportedFileType = Code(.unsupportedFileType)
    /// The path is a symbolic link and the options refuse one, or links form a loop.
    public static let symbolicLink = Code(.symbolicLink)
    /// The process or the system is out of file descriptors.
    public static let tooManyOpenFiles = Code(.tooManyOpenFiles)
    /// The address space (or RLIMIT_AS) has no room for the range.
    public static let addressSpaceExhausted = Code(.addressSpaceExhausted)
    /// The kernel has no memory for the request.
    public static let memoryExhausted = Code(.memoryExhausted)
    /// vm.max_map_count or the guard's table is full.
    public static let mappingLimitReached = Code(.mappingLimitReached)
    /// RLIMIT_MEMLOCK does not allow to lock this much.
    public static let lockLimitReached = Code(.lockLimitReached)
    /// The range does not lie in the file or in the view.
    public static let invalidRange = Code(.invalidRange)
    /// The file is shorter than the range: it was cut by somebody.
    public static let truncated = Code(.truncated)
    /// The file changed while it was read (its stamp moved).
    public static let changed = Code(.changed)
    /// The file system is full.
    public static let noSpace = Code(.noSpace)
    /// The device failed to read or write.
    public static let inputOutput = Code(.inputOutput)
    /// The memory that holds the page failed.
    public static let memoryFailure = Code(.memoryFailure)
    /// A page of the mapping was lost for a reason that could not be found out.
    public static let faulted = Code(.faulted)
    /// The network file handle is stale.
    public static let stale = Code(.stale)
    /// The kernel, the platform or the file system cannot do it.
    public static let notSupported = Code(.notSupported)
    /// The memory file lacks the seal that was asked for.
    public static let notSealed = Code(.notSealed)
    /// Somebody has the file open for writing, or it belongs to another user.
    public static let leaseRefused = Code(.leaseRefused)
    /// The object does not allow writing.
    public static let readOnly = Code(.readOnly)
    /// The input is larger than the limit that the caller set.
    public static let limitExceeded = Code(.limitExceeded)
    /// A signal interrupted the call.
    public static let interrupted = Code(.interrupted)
    /// The path is too long or one of its parts is not a directory.
    public static let pathInvalid = Code(.pathInvalid)
    /// A type or a header does not have the layout that it must have.
    public static let invalidLayout = Code(.invalidLayout)
    /// The file or the range is in use.
    public static let busy = Code(.busy)
    /// There is a file at the path, and it was to be made.
    public static let alreadyExists = Code(.alreadyExists)
    /// An earlier attempt to write data back failed: nobody can say which of it is on disk. Final for the object.
    public static let syncFailed = Code(.syncFailed)
    /// The bytes on disk are not what was written there: a checksum or a length is wrong.
    public static let corrupt = Code(.corrupt)
    /// The call does not fit what the object is doing, for example a commit without a transaction.
    public static let wrongState = Code(.wrongState)
    /// The file or the text is in none of the formats that the call reads, or it was cut.
    public static let unknownFormat = Code(.unknownFormat)
    /// Anything else: see ``MappingError/errno``.
    public static let other = Code(.other)

    internal static var all: [Code] { Value.allCases.map { Code($0) } }
  }
}

extension MappingError {
  /// Why it failed, in one clause without a full stop.
  public var reason: String { code.text.reason }
  /// What to do about it, as a sentence.
  public var remedy: String {
    if case .advice(_, let remedy)? = detail { remedy } else { code.text.remedy }
  }
}

extension MappingError.Code {
  internal var text: (reason: String, remedy: String) {
    switch value {
    case .notFound: ("there is no such file", "Check the path and its spelling.")
    case .permissionDenied:
      ("permission denied", "Give this user the right to read it, or run as its owner.")
    case .isDirectory: ("it is a directory", "Give the path of a file inside it.")
    case .unsupportedFileType:
      ("it is not a regular file", "Read pipes and /proc files with FileBytes; other devices cannot be mapped.")
    case .symbolicLink:
      ("it is a symbolic link, or links form a loop", "Name the target itself, or allow links in the options.")
    case .tooManyOpenFiles:
      ("no file descriptor is left", "Close files, or raise the limit with `ulimit -n`.")
    case .addressSpaceExhausted:
      ("the address space has no room for it", "Use WindowedFile, or raise `ulimit -v`.")
    case .memoryExhausted: ("the kernel has no memory for it", "Free memory, or ask for a smaller range.")
    case .mappingLimitReached:
      ("there are too many mappings", "Close some, or raise vm.max_map_count.")
    case .lockLimitReached:
      ("the limit of locked memory is reached", "Raise it with `ulimit -l`, or lock a smaller range.")
    case .invalidRange: ("the range is not inside it", "Ask its size first and stay below it.")
    case .truncated:
      (
        "the file was cut while in use",
        "Let writers replace files by rename instead of cutting them; then open it again."
      )
    case .changed: ("the file changed while it was read", "Read it again, or take a snapshot.")
    case .noSpace: ("no space left on the file system", "Free space, then open it again or call recover().")
    case .inputOutput: ("the device failed", "Look at the kernel log and the device's health; restore from a copy.")
    case .memoryFailure:
      ("memory hardware failed under the page", "Replace the memory; call recover() to read the page anew.")
    case .faulted: ("a page of the mapping was lost", "Open the file again, or call recover().")
    case .stale: ("the network file is gone on the server", "Open it again.")
    case .notSupported:
      ("this system or file system cannot do it", "Use another level of protection; see the documentation.")
    case .notSealed: ("it lacks the needed seal", "Seal the memory file against shrinking before you share it.")
    case .leaseRefused:
      ("somebody has it open for writing, or another user owns it", "Close the writers, or use `stability: .snapshot`.")
    case .readOnly: ("it is open for reading only", "Open it for writing.")
    case .limitExceeded: ("it is larger than the limit that was set", "Raise the limit, or read it in chunks.")
    case .interrupted: ("a signal interrupted the call", "Try again.")
    case .pathInvalid:
      ("the path is not valid", "Check that each part but the last is a directory and none is too long.")
    case .invalidLayout: ("the layout is not the expected one", "Compare what was declared with what the bytes hold.")
    case .busy: ("it is in use", "Wait until the other user has finished.")
    case .alreadyExists: ("the file is there already", "Open it instead, or choose another name.")
    case .syncFailed:
      (
        "an earlier write-back failed, so what is on disk is unknown",
        "Close it, look at the kernel log and the device, open it again; what was not acknowledged must be written again."
      )
    case .corrupt: ("its bytes are damaged", "Restore it from a copy; `pagewise verify` shows what is wrong.")
    case .wrongState: ("the call does not fit its state", "See the documentation of the call for the order.")
    case .unknownFormat:
      (
        "it is not in the expected format",
        "Check that it is the right file, that it is whole, and that its version is read here."
      )
    case .other: ("the system call failed", "See the error number.")
    }
  }
}

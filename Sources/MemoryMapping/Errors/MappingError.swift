// SPDX-License-Identifier: Apache-2.0

public import SystemPackage

/// What went wrong with a mapping, where, and what to do about it.
///
/// An error carries the failed operation, the kernel's error number where there is one, the path and the position in the
/// file. ``description`` puts them into one line that ends with a remedy. New codes may be added: switch over ``code``
/// with a default.
public struct MappingError: Error, Sendable, Hashable {
  /// The kind of failure.
  public var code: Code
  /// The operation that failed.
  public var operation: Operation
  /// The kernel's error number, or nil where the failure was found without a failed call.
  public var errno: Errno?
  /// The file, where it was opened by a path or its path was given.
  public var path: FilePath?
  /// Where in the file, in bytes from its start.
  public var offset: Int64?
  /// How many bytes the failed operation was about.
  public var length: Int64?
  /// A fact about this failure that ``code`` does not tell, such as the file's size.
  public var detail: Detail?

  public init(
    _ code: Code, operation: Operation, errno: Errno? = nil, path: FilePath? = nil, offset: Int64? = nil,
    length: Int64? = nil, detail: Detail? = nil
  ) {
    self.code = code
    self.operation = operation
    self.errno = errno
    self.path = path
    self.offset = offset
    self.length = length
    self.detail = detail
  }

  /// A measured fact that belongs to an error.
  public enum Detail: Sendable, Hashable {
    /// The file's size in bytes when the failure was found.
    case fileSize(Int64)
    /// The limit that was met, in the unit of the operation.
    case limit(Int64)
    /// A word of the library's own, for example the name of a type.
    case note(String)
  }
}

extension MappingError {
  /// What the library was doing.
  public struct Operation: Sendable, Hashable, CustomStringConvertible {
    /// The verb as it stands in messages, for example `map`.
    public let name: String
    public init(_ name: String) { self.name = name }
    public var description: String { name }

    public static let open = Operation("open")
    public static let stat = Operation("stat")
    public static let map = Operation("map")
    public static let unmap = Operation("unmap")
    public static let read = Operation("read")
    public static let copy = Operation("copy")
    public static let load = Operation("load")
    public static let advise = Operation("advise")
    public static let prefault = Operation("prefault")
    public static let lock = Operation("lock")
    public static let unlock = Operation("unlock")
    public static let protect = Operation("protect")
    public static let probe = Operation("probe")
    public static let residency = Operation("ask residency of")
    public static let recover = Operation("recover")
    public static let close = Operation("close")
    public static let lease = Operation("lease")
    public static let seal = Operation("seal")
    public static let snapshot = Operation("take a snapshot of")
    public static let reserve = Operation("reserve address space for")
    public static let resize = Operation("resize")
    public static let write = Operation("write")
    public static let iterate = Operation("iterate over")
    public static let guardInstall = Operation("install the fault guard for")
    public static let calibrate = Operation("calibrate")
  }
}

extension MappingError: CustomStringConvertible {
  /// One line: what failed, on which file, where, why, and the remedy.
  public var description: String {
    var text = "cannot \(operation.name)"
    if let path { text += " '\(path)'" }
    if let offset {
      text += " at byte \(offset)"
      if let length { text += " (\(length) bytes)" }
    }
    text += ": \(reason)"
    switch detail {
    case .fileSize(let size)?: text += " (the file has \(size) bytes)"
    case .limit(let limit)?: text += " (limit \(limit))"
    case .note(let note)?: text += " (\(note))"
    case nil: break
    }
    if let errno, code == .other || code == .inputOutput { text += " [\(errno)]" }
    return text + ". " + remedy
  }
}

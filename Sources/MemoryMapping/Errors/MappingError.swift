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
    /// The same, with what to do about it where the remedy of the ``MappingError/Code`` does not fit.
    case advice(String, remedy: String)
  }
}

extension MappingError {
  /// What the library was doing.
  public struct Operation: Sendable, Hashable, CustomStringConvertible {
    /// The verb as it stands in messages, for example `map`.
    public let name: String
    @inlinable public init(_ name: String) { self.name = name }
    public var description: String { name }

    // Computed, so that a fast path does not ask whether a global was made.
    @inlinable public static var open: Operation { Operation("open") }
    @inlinable public static var stat: Operation { Operation("stat") }
    @inlinable public static var map: Operation { Operation("map") }
    @inlinable public static var unmap: Operation { Operation("unmap") }
    @inlinable public static var read: Operation { Operation("read") }
    @inlinable public static var copy: Operation { Operation("copy") }
    @inlinable public static var load: Operation { Operation("load") }
    @inlinable public static var advise: Operation { Operation("advise") }
    @inlinable public static var prefault: Operation { Operation("prefault") }
    @inlinable public static var lock: Operation { Operation("lock") }
    @inlinable public static var unlock: Operation { Operation("unlock") }
    @inlinable public static var protect: Operation { Operation("protect") }
    @inlinable public static var probe: Operation { Operation("probe") }
    @inlinable public static var residency: Operation { Operation("ask residency of") }
    @inlinable public static var recover: Operation { Operation("recover") }
    @inlinable public static var close: Operation { Operation("close") }
    @inlinable public static var lease: Operation { Operation("lease") }
    @inlinable public static var seal: Operation { Operation("seal") }
    @inlinable public static var snapshot: Operation { Operation("take a snapshot of") }
    @inlinable public static var reserve: Operation { Operation("reserve address space for") }
    @inlinable public static var resize: Operation { Operation("resize") }
    @inlinable public static var write: Operation { Operation("write") }
    @inlinable public static var create: Operation { Operation("create") }
    @inlinable public static var flush: Operation { Operation("flush") }
    @inlinable public static var punchHole: Operation { Operation("punch a hole into") }
    @inlinable public static var reserveSpace: Operation { Operation("reserve space in") }
    @inlinable public static var lockFile: Operation { Operation("take the lock of") }
    @inlinable public static var append: Operation { Operation("append to") }
    @inlinable public static var begin: Operation { Operation("begin a transaction on") }
    @inlinable public static var commit: Operation { Operation("commit to") }
    @inlinable public static var rollback: Operation { Operation("roll back") }
    @inlinable public static var checkpoint: Operation { Operation("checkpoint") }
    @inlinable public static var replay: Operation { Operation("replay the journal of") }
    @inlinable public static var replace: Operation { Operation("replace") }
    @inlinable public static var verify: Operation { Operation("verify") }
    @inlinable public static var iterate: Operation { Operation("iterate over") }
    @inlinable public static var guardInstall: Operation { Operation("install the fault guard for") }
    @inlinable public static var calibrate: Operation { Operation("calibrate") }
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
    case .note(let note)?, .advice(let note, _)?: text += " (\(note))"
    case nil: break
    }
    if let errno, code == .other || code == .inputOutput { text += " [\(errno)]" }
    return text + ". " + remedy
  }
}

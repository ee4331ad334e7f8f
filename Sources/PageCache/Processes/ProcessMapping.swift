// SPDX-License-Identifier: Apache-2.0

internal import CPlatform
public import SystemPackage

/// One mapping of a process: a line of /proc/PID/maps, or an entry of a core.
public struct ProcessMapping: Sendable, Hashable {
  /// Where it lies in the process.
  public let addresses: Range<UInt64>
  /// What the process may do there.
  public let permissions: Permissions
  /// True for `MAP_SHARED`, false for `MAP_PRIVATE`; nil where the source does not tell: a core.
  public let isShared: Bool?
  /// Where in the file it begins, bytes. 0 for memory without a file.
  public let offset: UInt64
  /// The device of the file as the kernel's list of mappings has it, which on btrfs and overlayfs can differ from `st_dev`;
  /// 0 without a file and where the source does not tell.
  public let device: UInt64
  /// The file's number on it; 0 without a file and where the source does not tell.
  public let inode: UInt64
  /// The name's bytes as the kernel gives them, with newlines restored and without ` (deleted)`: a path, `[heap]`,
  /// `anon_inode:[…]`, or nothing.
  public let nameBytes: [UInt8]
  /// True when the kernel says that the name is gone from its folder. A file whose own name ends in ` (deleted)` looks the same
  /// here; whoever stats the path finds out.
  public let isDeleted: Bool

  /// What a process may do with a mapping.
  public struct Permissions: OptionSet, Sendable, Hashable, CustomStringConvertible {
    public let rawValue: UInt8
    public init(rawValue: UInt8) { self.rawValue = rawValue }
    public static let read = Permissions(rawValue: 1)
    public static let write = Permissions(rawValue: 2)
    public static let execute = Permissions(rawValue: 4)
    /// As in /proc, for instance `r-x`.
    public var description: String {
      (contains(.read) ? "r" : "-") + (contains(.write) ? "w" : "-") + (contains(.execute) ? "x" : "-")
    }
  }

  package init(
    addresses: Range<UInt64>, permissions: Permissions, isShared: Bool?, offset: UInt64 = 0, device: UInt64 = 0,
    inode: UInt64 = 0, name: some Collection<UInt8> = []
  ) {
    self.addresses = addresses
    self.permissions = permissions
    self.isShared = isShared
    self.offset = offset
    self.device = device
    self.inode = inode
    let deleted = Self.deletedMark
    let isMarked =
      name.first == UInt8(ascii: "/") && name.count > deleted.count
      && name.suffix(deleted.count).elementsEqual(deleted)
    isDeleted = isMarked
    nameBytes = isMarked ? Array(name.dropLast(deleted.count)) : Array(name)
  }

  package static let deletedMark = Array(" (deleted)".utf8)

  /// Bytes.
  public var length: UInt64 { addresses.upperBound - addresses.lowerBound }

  /// The name as text; what is not UTF-8 is repaired.
  public var name: String { String(decoding: nameBytes, as: UTF8.self) }

  /// The path of the file, in the eyes of the process: its root may be another one. Nil for memory that has no file in a folder:
  /// anonymous, memfd_create, System V, shared anonymous.
  public var path: FilePath? {
    guard hasPath else { return nil }
    let terminated = nameBytes.map { CChar(bitPattern: $0) } + [0]
    return unsafe terminated.withUnsafeBufferPointer { unsafe FilePath(platformString: $0.baseAddress!) }
  }

  /// True when ``path`` is not nil, without making it.
  package var hasPath: Bool {
    let slash = UInt8(ascii: "/")
    guard let first = nameBytes.first, first == slash, nameBytes.count == 1 || nameBytes[1] != slash else {
      return false
    }
    return !isMemoryFile
  }

  /// True when the path is this one or, of a folder, begins with it.
  package func hasPath(_ path: [UInt8], orBelow isFolder: Bool) -> Bool {
    guard nameBytes.count >= path.count, hasPath else { return false }
    var at = 0
    while at < path.count {
      guard nameBytes[at] == path[at] else { return false }
      at += 1
    }
    if at == nameBytes.count { return true }
    // The root ends in the slash itself.
    return isFolder && (nameBytes[at] == UInt8(ascii: "/") || path.last == UInt8(ascii: "/"))
  }

  /// True for files that live in memory and never had a place in a folder.
  public var isMemoryFile: Bool {
    guard isDeleted else { return false }
    return Self.memoryNames.contains { nameBytes.starts(with: $0) }
  }

  private static let memoryNames = [
    "/memfd:", "/SYSV", "/dev/zero", "/anon_hugepage", "/[aio]", "/i915", "/drm mm object",
  ].map { Array($0.utf8) }

  /// Where in the file the byte at an address lies; nil outside, and when the sum is no file offset.
  public func fileOffset(of address: UInt64) -> UInt64? {
    guard addresses.contains(address) else { return nil }
    let (sum, overflow) = offset.addingReportingOverflow(address - addresses.lowerBound)
    return overflow || sum > UInt64(Int64.max) ? nil : sum
  }
}

/// The numbers of one line of /proc/PID/maps, without a copy of the name.
package struct MapsLine {
  package let start: UInt64
  package let end: UInt64
  package let permissions: ProcessMapping.Permissions
  package let isShared: Bool
  package let offset: UInt64
  package let major: UInt32
  package let minor: UInt32
  package let inode: UInt64
  /// Where in the text the name lies.
  package let name: Range<Int>

  /// Reads `START-END PERM OFFSET MAJOR:MINOR INODE   NAME`; nil for anything else.
  ///
  /// - Parameters:
  ///   - text: whole lines.
  ///   - line: one of them, without its newline.
  package init?(_ text: Span<UInt8>, _ line: Range<Int>) {
    var at = line.lowerBound
    let limit = line.upperBound
    guard let start = Self.hex(text, &at, limit), Self.skip(text, &at, limit, UInt8(ascii: "-")),
      let end = Self.hex(text, &at, limit), start < end, Self.skip(text, &at, limit, UInt8(ascii: " ")),
      limit - at >= 5
    else { return nil }
    var permissions: ProcessMapping.Permissions = []
    switch text[at] {
    case UInt8(ascii: "r"): permissions.insert(.read)
    case UInt8(ascii: "-"): break
    default: return nil
    }
    switch text[at + 1] {
    case UInt8(ascii: "w"): permissions.insert(.write)
    case UInt8(ascii: "-"): break
    default: return nil
    }
    switch text[at + 2] {
    case UInt8(ascii: "x"): permissions.insert(.execute)
    case UInt8(ascii: "-"): break
    default: return nil
    }
    switch text[at + 3] {
    case UInt8(ascii: "s"), UInt8(ascii: "S"): isShared = true
    case UInt8(ascii: "p"): isShared = false
    default: return nil
    }
    at += 4
    guard Self.skip(text, &at, limit, UInt8(ascii: " ")), let offset = Self.hex(text, &at, limit),
      Self.skip(text, &at, limit, UInt8(ascii: " ")), let major = Self.hex(text, &at, limit), major <= UInt32.max,
      Self.skip(text, &at, limit, UInt8(ascii: ":")), let minor = Self.hex(text, &at, limit), minor <= UInt32.max,
      Self.skip(text, &at, limit, UInt8(ascii: " ")), let inode = Self.decimal(text, &at, limit),
      at == limit || text[at] == UInt8(ascii: " ")
    else { return nil }
    while at < limit, text[at] == UInt8(ascii: " ") { at += 1 }
    self.start = start
    self.end = end
    self.permissions = permissions
    self.offset = offset
    self.major = UInt32(major)
    self.minor = UInt32(minor)
    self.inode = inode
    name = at..<limit
  }

  private static func skip(_ text: Span<UInt8>, _ at: inout Int, _ limit: Int, _ byte: UInt8) -> Bool {
    guard at < limit, text[at] == byte else { return false }
    at += 1
    return true
  }

  private static func hex(_ text: Span<UInt8>, _ at: inout Int, _ limit: Int) -> UInt64? {
    var value: UInt64 = 0
    let begin = at
    while at < limit {
      let byte = text[at]
      let digit: UInt8
      switch byte {
      case UInt8(ascii: "0")...UInt8(ascii: "9"): digit = byte - UInt8(ascii: "0")
      case UInt8(ascii: "a")...UInt8(ascii: "f"): digit = byte - UInt8(ascii: "a") + 10
      case UInt8(ascii: "A")...UInt8(ascii: "F"): digit = byte - UInt8(ascii: "A") + 10
      default: return at > begin ? value : nil
      }
      guard value >> 60 == 0 else { return nil }
      value = value << 4 | UInt64(digit)
      at += 1
    }
    return at > begin ? value : nil
  }

  private static func decimal(_ text: Span<UInt8>, _ at: inout Int, _ limit: Int) -> UInt64? {
    var value: UInt64 = 0
    let begin = at
    while at < limit, case let byte = text[at], byte >= UInt8(ascii: "0"), byte <= UInt8(ascii: "9") {
      let (tens, one) = value.multipliedReportingOverflow(by: 10)
      let (sum, two) = tens.addingReportingOverflow(UInt64(byte - UInt8(ascii: "0")))
      guard !one, !two else { return nil }
      value = sum
      at += 1
    }
    return at > begin ? value : nil
  }

  package var device: UInt64 { pgw_device_number(major, minor) }

  /// With the name, in which `\012` becomes the newline that it stands for: the one byte that the kernel escapes. A name that
  /// really holds these four characters cannot be told apart.
  package func mapping(_ text: Span<UInt8>) -> ProcessMapping {
    var bytes: [UInt8] = []
    bytes.reserveCapacity(name.count)
    var at = name.lowerBound
    while at < name.upperBound {
      if text[at] == UInt8(ascii: "\\"), name.upperBound - at >= 4, text[at + 1] == UInt8(ascii: "0"),
        text[at + 2] == UInt8(ascii: "1"), text[at + 3] == UInt8(ascii: "2")
      {
        bytes.append(0x0A)
        at += 4
      } else {
        bytes.append(text[at])
        at += 1
      }
    }
    return ProcessMapping(
      addresses: start..<end, permissions: permissions, isShared: isShared, offset: offset, device: device,
      inode: inode, name: bytes)
  }
}

/// The lines of a text.
package struct TextLines {
  private var at = 0
  package private(set) var number = 0

  package init() {}

  /// The next line without its newline; nil at the end.
  package mutating func next(_ text: Span<UInt8>) -> Range<Int>? {
    guard at < text.count else { return nil }
    let begin = at
    while at < text.count, text[at] != 0x0A { at += 1 }
    defer { at += 1 }
    number += 1
    return begin..<at
  }
}

extension ProcessMapping {
  /// All mappings of a text of /proc/PID/maps that come from the kernel itself: what is no such line is left out.
  package static func all(_ bytes: [UInt8]) -> [ProcessMapping] {
    let text = bytes.span
    var found: [ProcessMapping] = []
    var lines = TextLines()
    while let line = lines.next(text) {
      if let parsed = MapsLine(text, line) { found.append(parsed.mapping(text)) }
    }
    return found
  }

  /// Those that show files, and how many there are of all kinds.
  package static func withFiles(_ bytes: [UInt8]) -> (mappings: [ProcessMapping], count: Int) {
    let text = bytes.span
    var found: [ProcessMapping] = []
    var count = 0
    var lines = TextLines()
    while let line = lines.next(text) {
      guard let parsed = MapsLine(text, line) else { continue }
      count += 1
      if parsed.inode != 0 { found.append(parsed.mapping(text)) }
    }
    return (found, count)
  }
}

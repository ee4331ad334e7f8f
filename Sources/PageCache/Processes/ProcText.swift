// SPDX-License-Identifier: Apache-2.0

internal import CPlatform
package import MemoryMapping
package import SystemPackage

#if canImport(Glibc)
  internal import Glibc
#elseif canImport(Musl)
  internal import Musl
#elseif canImport(Darwin)
  internal import Darwin
#endif

/// Reads the text files of /proc, whose sizes are not known before, into memory that is used again.
package struct ProcText {
  /// What the last file held.
  package private(set) var bytes: [UInt8] = []
  private var piece = [UInt8](repeating: 0, count: 64 << 10)

  /// No file is taken to be longer: 65,530 mappings are some 6 MB.
  package static let limit = 1 << 30

  package init() {}

  /// Reads all of a file.
  ///
  /// - Returns: nil, or why not; `bytes` then holds what came before.
  package mutating func read(_ path: String) -> Errno? {
    bytes.removeAll(keepingCapacity: true)
    let descriptor = unsafe path.withCString { unsafe pgw_open($0, O_RDONLY | O_NONBLOCK | O_NOCTTY, 0) }
    guard descriptor >= 0 else { return MappingError.currentErrno }
    defer { _ = pgw_close(descriptor) }
    return read(descriptor)
  }

  /// Reads what an open file has from where it stands.
  package mutating func read(_ descriptor: CInt, limit: Int = Self.limit) -> Errno? {
    while true {
      let got = unsafe piece.withUnsafeMutableBytes { unsafe pgw_read(descriptor, $0.baseAddress, $0.count) }
      if got < 0 { return MappingError.currentErrno }
      if got == 0 { return nil }
      if bytes.count + got > limit { return .fileTooLarge }
      bytes += piece[..<got]
    }
  }

  /// Forgets what the last file held.
  package mutating func removeAll() { bytes.removeAll(keepingCapacity: true) }

  /// The text; what is not UTF-8 is repaired.
  package var text: String { String(decoding: bytes, as: UTF8.self) }

  /// The whole number behind a label that begins a line, such as `VmLck:`; nil without one.
  package static func number(after label: StaticString, in text: String) -> Int64? {
    let label = "\(label)"
    for line in text.split(separator: "\n") where line.hasPrefix(label) {
      return Int64(line.dropFirst(label.count).drop { $0 == " " || $0 == "\t" }.prefix { $0.isASCII && $0.isNumber })
    }
    return nil
  }
}

/// What of the processes of this machine could be looked at.
public struct ProcessCounts: Sendable, Hashable {
  /// Processes that were looked at. Threads are not counted; kernel threads are, where root looks.
  public package(set) var seen = 0
  /// Processes that this user may not look at, or only at a part of: what they hold is not known.
  public package(set) var unknown = 0
  /// True when /proc does not even list the processes of other users (its mount option `hidepid`): how many are unknown is then
  /// not known either.
  public package(set) var areHidden = false

  /// True when nothing was left out. What runs in another PID namespace than this process and its children cannot be seen
  /// from here in any way, and is not meant.
  public var isComplete: Bool { unknown == 0 && !areHidden }

  package init() {}
}

/// The processes of /proc.
package enum ProcessList {
  /// All that are listed, in the kernel's order, which is by number.
  ///
  /// - Throws: when /proc cannot be listed.
  package static func all() throws(MappingError) -> [Int32] {
    let root: FilePath = "/proc"
    let found: [Int32]
    do throws(Errno) {
      found = try numbers(in: root)
    } catch {
      throw .failed(.init("list the processes of"), root, reason: error)
    }
    if found.isEmpty {
      throw MappingError(
        .notSupported, operation: .init("list the processes of"), path: root,
        detail: .note("it lists none: it is not mounted, or this system has none"))
    }
    return found
  }

  /// The entries of a folder that are numbers from 1.
  ///
  /// - Throws: when it cannot be listed.
  package static func numbers(in folder: FilePath) throws(Errno) -> [Int32] {
    guard let listing = unsafe folder.withPlatformString({ unsafe pgw_listing_open($0) }) else {
      throw MappingError.currentErrno
    }
    defer { unsafe pgw_listing_close(listing) }
    var found: [Int32] = []
    var kind: UInt32 = 0
    while let name = unsafe pgw_listing_next(listing, &kind) {
      guard let number = Int32(unsafe String(cString: name)), number > 0 else { continue }
      found.append(number)
    }
    let reason = MappingError.currentErrno
    guard reason.rawValue == 0 else { throw reason }
    return found
  }

  /// True when /proc hides processes of others: the first process always exists.
  package static func areHidden(in list: [Int32]) -> Bool { !list.contains(1) && pgw_process_exists(1) == 1 }
}

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
  /// Processes that were looked at. Threads are not counted, kernel threads neither.
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
    guard let listing = unsafe root.withPlatformString({ unsafe pgw_listing_open($0) }) else {
      throw .failed(.init("list the processes of"), root)
    }
    defer { unsafe pgw_listing_close(listing) }
    var found: [Int32] = []
    var kind: UInt32 = 0
    while let name = unsafe pgw_listing_next(listing, &kind) {
      guard let number = Int32(unsafe String(cString: name)), number > 0 else { continue }
      found.append(number)
    }
    guard MappingError.currentErrno.rawValue == 0 else { throw .failed(.init("list the processes of"), root) }
    if found.isEmpty {
      throw MappingError(
        .notSupported, operation: .init("list the processes of"), path: root,
        detail: .note("it lists none: it is not mounted, or this system has none"))
    }
    return found
  }

  /// True when /proc hides processes of others: the first process always exists.
  package static func areHidden(in list: [Int32]) -> Bool { !list.contains(1) && pgw_process_exists(1) == 1 }

  /// True for what holds no files by its nature: kernel threads, and processes that have ended and were not awaited yet. Both
  /// refuse to be looked at as processes of others do.
  package static func holdsNothing(_ process: Int32, _ reader: inout ProcText) -> Bool {
    if let reason = reader.read("/proc/\(process)/stat") {
      // Gone; or one that may not even be asked this (hidepid=1), which is not to know.
      return reason == .noSuchFileOrDirectory || reason == .noSuchProcess
    }
    // "PID (NAME) STATE PPID PGRP SESSION TTY TPGID FLAGS ...": a name can hold spaces and parentheses.
    guard let end = reader.bytes.lastIndex(of: UInt8(ascii: ")")) else { return false }
    let fields = reader.bytes[(end + 1)...].split(separator: UInt8(ascii: " "))
    guard fields.count > 6 else { return false }
    if fields[0].first == UInt8(ascii: "Z") || fields[0].first == UInt8(ascii: "X") { return true }
    let kernelThread: UInt64 = 0x0020_0000
    return (UInt64(String(decoding: fields[6], as: UTF8.self)) ?? 0) & kernelThread != 0
  }
}

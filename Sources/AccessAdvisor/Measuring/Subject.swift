// SPDX-License-Identifier: Apache-2.0

internal import CPlatform
@_spi(Adoption) internal import MemoryMapping
internal import PageCache
internal import SystemPackage

/// The file under measurement and how much of it is looked at.
internal struct Subject: Sendable {
  internal let path: FilePath
  internal var facts: FileFacts
  internal let identity: Identity
  /// Bytes of one pass: all, or the beginning of a file that is too large for the time allowed.
  internal var window: Int64
  /// Scattered places lie in the whole file, not only in the window: right when nothing of it is in memory anyway.
  internal var scattersEverywhere = false
  /// No true size: read until it ends, and never the same twice.
  internal let isSynthetic: Bool

  internal var size: Int64 { facts.size }
  internal var isSampled: Bool { window < size }
  /// Scattered places lie in the first so many bytes.
  internal var scatterRange: Int64 { scattersEverywhere ? size : window }
  /// From the time of the window to the time of the whole.
  internal var scale: Double { isSampled ? Double(size) / Double(window) : 1 }

  /// What must not change while it is measured.
  internal struct Identity: Sendable, Hashable {
    internal let device: UInt64
    internal let inode: UInt64
    internal let size: Int64
    internal let modified: Int64
    internal let changed: Int64

    internal init(_ stat: pgw_stat) {
      device = stat.device
      inode = stat.inode
      size = stat.size
      modified = stat.modified_ns
      changed = stat.changed_ns
    }
  }

  internal init(_ path: FilePath, facts: FileFacts, stat: pgw_stat) {
    self.path = path
    self.facts = facts
    self.identity = Identity(stat)
    self.window = facts.size
    self.isSynthetic = facts.hasContentWithoutSize || facts.fileSystem?.nature == .synthetic
  }

  /// A mapping of the first `length` bytes, with the system calls of ``MappedFile/init(_:offset:length:options:)``.
  internal func map(length: Int64, populate: Bool = false) throws(MappingError) -> MappedFile {
    guard let length = Int(exactly: length) else {
      throw MappingError(.addressSpaceExhausted, operation: .map, path: path, length: length)
    }
    var options = MappedFile.Options()
    options.populate = populate
    do throws(MappingError) {
      return try MappedFile(adopting: try ObservedFile(path).take(), length: length, options: options, path: path)
    } catch {
      // Shorter than it was a moment ago: say that, not that our own range is wrong.
      if error.code == .invalidRange { throw try shrunk(ObservedFile(path)) ?? error }
      throw error
    }
  }

  /// The error for a file that is shorter than at the start, or nil.
  internal func shrunk(_ file: borrowing ObservedFile) throws(MappingError) -> MappingError? {
    let now = try file.stat(path)
    guard now.size < size else { return nil }
    return MappingError(
      .truncated, operation: .init("measure"), path: path, offset: now.size, length: size - now.size,
      detail: .fileSize(now.size))
  }
}

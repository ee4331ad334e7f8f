// SPDX-License-Identifier: Apache-2.0

package import CPlatform
package import MemoryMapping
package import SystemPackage

/// Goes through a folder and all below it, without recursion; memory grows with the number of folders, not of files.
package struct TreeWalk {
  package let followsLinks: Bool
  package let staysOnFileSystem: Bool
  package private(set) var counts = WalkCounts()
  package private(set) var wasCancelled = false

  private struct Node: Hashable {
    let device: UInt64
    let inode: UInt64
  }
  private var seenFolders: Set<Node> = []
  /// Files that can be met twice.
  private var seenFiles: Set<Node> = []
  private var fileSystems: [UInt64: FileSystemKind?] = [:]
  private var pending: [FilePath] = []
  private var rootDevice: UInt64 = 0

  /// Failures whose sentences are kept; the others are counted.
  package static let keptFailures = 20

  package init(followsLinks: Bool, staysOnFileSystem: Bool) {
    self.followsLinks = followsLinks
    self.staysOnFileSystem = staysOnFileSystem
  }

  /// A regular file that was met.
  package struct Entry {
    package let path: FilePath
    package let stat: pgw_stat
    package let fileSystem: FileSystemKind?
  }

  /// Calls `visit` once for each regular file.
  ///
  /// - Parameters:
  ///   - root: a folder, or a symbolic link to one.
  ///   - isCancelled: asked at each entry.
  ///   - enter: gets each folder once it could be opened, a folder before those in it.
  ///   - visit: gets the files.
  /// - Throws: when `root` itself cannot be listed. Failures below are counted.
  package mutating func run(
    _ root: FilePath, isCancelled: () -> Bool, enter: (FilePath) -> Void = { _ in }, visit: (Entry) -> Void
  ) throws(MappingError) {
    let stat = try EntryKind.stat(root, follows: true)
    rootDevice = stat.device
    seenFolders.insert(Node(device: stat.device, inode: stat.inode))
    try list(root, isCancelled: isCancelled, enter: enter, visit: visit)
    while !wasCancelled, let folder = pending.popLast() {
      do throws(MappingError) {
        try list(folder, isCancelled: isCancelled, enter: enter, visit: visit)
      } catch {
        fail(error)
      }
    }
  }

  package mutating func fail(_ error: MappingError) {
    counts.failures += 1
    if counts.firstFailures.count < Self.keptFailures { counts.firstFailures.append(error) }
  }

  private mutating func list(
    _ folder: FilePath, isCancelled: () -> Bool, enter: (FilePath) -> Void, visit: (Entry) -> Void
  ) throws(MappingError) {
    guard let listing = unsafe folder.withPlatformString({ unsafe pgw_listing_open($0) }) else {
      throw .failed(.init("list"), folder)
    }
    defer { unsafe pgw_listing_close(listing) }
    counts.folders += 1
    enter(folder)
    while let name = unsafe pgw_listing_next(listing) {
      if isCancelled() {
        wasCancelled = true
        return
      }
      guard let component = unsafe FilePath.Component(platformString: name) else { continue }
      let path = folder.appending(component)
      do throws(MappingError) {
        try look(at: path, visit: visit)
      } catch {
        // Gone since it was listed is no failure; a link to nowhere is one.
        if error.code != .notFound || isLink(path) { fail(error) }
      }
    }
    // NULL at the end and after an error: the number tells which.
    guard MappingError.currentErrno.rawValue == 0 else { throw .failed(.init("list"), folder) }
  }

  private func isLink(_ path: FilePath) -> Bool {
    guard let stat = try? EntryKind.stat(path, follows: false) else { return false }
    return EntryKind(mode: stat.mode) == .symbolicLink
  }

  private mutating func look(at path: FilePath, visit: (Entry) -> Void) throws(MappingError) {
    var stat = try EntryKind.stat(path, follows: false)
    var kind = EntryKind(mode: stat.mode)
    if kind == .symbolicLink {
      guard followsLinks else {
        counts.links += 1
        return
      }
      stat = try EntryKind.stat(path, follows: true)
      kind = EntryKind(mode: stat.mode)
    }
    let node = Node(device: stat.device, inode: stat.inode)
    switch kind {
    case .directory:
      if staysOnFileSystem, stat.device != rootDevice {
        counts.otherFileSystems += 1
      } else if !seenFolders.insert(node).inserted {
        counts.loops += 1
      } else {
        pending.append(path)
      }
    case .regular:
      if stat.links > 1 || followsLinks, !seenFiles.insert(node).inserted {
        counts.hardLinks += 1
        return
      }
      counts.files += 1
      counts.bytes += stat.size
      visit(Entry(path: path, stat: stat, fileSystem: fileSystem(of: path, device: stat.device)))
    default: counts.special += 1
    }
  }

  /// Asked once for each device.
  private mutating func fileSystem(of path: FilePath, device: UInt64) -> FileSystemKind? {
    if let known = fileSystems[device] { return known }
    var kind: FileSystemKind? = nil
    if let folder = try? ObservedFile(path.removingLastComponent()),
      let facts = try? FileFacts(asking: folder.descriptor)
    {
      kind = facts.fileSystem
    }
    fileSystems[device] = .some(kind)
    return kind
  }
}

// SPDX-License-Identifier: Apache-2.0

package import CPlatform
package import MemoryMapping
package import SystemPackage

/// Goes through a folder and all below it, without recursion; memory grows with the number of folders, not of files.
///
/// A file costs what is done with it: names come with their kinds, and are opened from the folder that is being listed. No path is
/// put together unless somebody asks for it.
package struct TreeWalk {
  package let followsLinks: Bool
  package let staysOnFileSystem: Bool
  /// Which files are visited.
  package let patterns: FilePatterns
  package private(set) var counts = WalkCounts()
  package private(set) var wasCancelled = false

  package struct Node: Hashable {
    package let device: UInt64
    package let inode: UInt64
    package init(_ stat: pgw_stat) {
      device = stat.device
      inode = stat.inode
    }
  }
  private var seenFolders: Set<Node> = []
  /// Files that can be met twice.
  private var seenFiles: Set<Node> = []
  private var fileSystems: [UInt64: FileSystemKind?] = [:]
  private var lastFileSystem: (device: UInt64, kind: FileSystemKind?)? = nil
  private var pending: [FilePath] = []
  private var root: FilePath = ""
  private var rootDevice: UInt64 = 0

  /// Failures whose sentences are kept; the others are counted.
  package static let keptFailures = 20

  package init(followsLinks: Bool, staysOnFileSystem: Bool, patterns: FilePatterns = .init()) {
    self.followsLinks = followsLinks
    self.staysOnFileSystem = staysOnFileSystem
    self.patterns = patterns
  }

  /// A regular file that was met. Good during the visit only.
  @safe package struct Entry {
    package let stat: pgw_stat
    package let fileSystem: FileSystemKind?
    /// Open for reading; -1 where the walk opens nothing.
    package let descriptor: CInt
    private let folder: FilePath
    private let name: UnsafePointer<CChar>

    fileprivate init(
      _ stat: pgw_stat, _ fileSystem: FileSystemKind?, _ descriptor: CInt, _ folder: FilePath,
      _ name: UnsafePointer<CChar>
    ) {
      self.stat = stat
      self.fileSystem = fileSystem
      self.descriptor = descriptor
      self.folder = folder
      unsafe self.name = name
    }

    package var path: FilePath { unsafe TreeWalk.path(folder, name) }
  }

  private static func path(_ folder: FilePath, _ name: UnsafePointer<CChar>) -> FilePath {
    guard let component = unsafe FilePath.Component(platformString: name) else { return folder }
    return folder.appending(component)
  }

  /// Calls `visit` once for each regular file.
  ///
  /// - Parameters:
  ///   - root: a folder, or a symbolic link to one.
  ///   - opening: open each file for reading, without a trace. What cannot be opened is a failure.
  ///   - isCancelled: asked at each entry.
  ///   - enter: gets each folder once it could be opened, a folder before those in it.
  ///   - visit: gets the files.
  /// - Throws: when `root` itself cannot be listed. Failures below are counted.
  package mutating func run(
    _ root: FilePath, opening: Bool = false, isCancelled: () -> Bool, enter: (FilePath) -> Void = { _ in },
    visit: (Entry) -> Void
  ) throws(MappingError) {
    let stat = try EntryKind.stat(root, follows: true)
    self.root = root
    rootDevice = stat.device
    seenFolders.insert(Node(stat))
    try list(root, opening, isCancelled: isCancelled, enter: enter, visit: visit)
    while !wasCancelled, let folder = pending.popLast() {
      do throws(MappingError) {
        try list(folder, opening, isCancelled: isCancelled, enter: enter, visit: visit)
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
    _ folder: FilePath, _ opening: Bool, isCancelled: () -> Bool, enter: (FilePath) -> Void, visit: (Entry) -> Void
  ) throws(MappingError) {
    guard let listing = unsafe folder.withPlatformString({ unsafe pgw_listing_open($0) }) else {
      throw .failed(.init("list"), folder)
    }
    defer { unsafe pgw_listing_close(listing) }
    counts.folders += 1
    enter(folder)
    var kind: UInt32 = 0
    while let name = unsafe pgw_listing_next(listing, &kind) {
      if isCancelled() {
        wasCancelled = true
        return
      }
      let place = unsafe Place(listing: listing, folder: folder, name: name)
      do throws(MappingError) {
        try look(at: place, kind, opening, visit: visit)
      } catch {
        // Gone since it was listed is no failure; a link to nowhere is one.
        if error.code != .notFound || place.isLink { fail(error) }
      }
    }
    // NULL at the end and after an error: the number tells which.
    guard MappingError.currentErrno.rawValue == 0 else { throw .failed(.init("list"), folder) }
  }

  /// A name in the folder that is being listed.
  @safe private struct Place {
    let listing: OpaquePointer
    let folder: FilePath
    let name: UnsafePointer<CChar>

    var path: FilePath { unsafe TreeWalk.path(folder, name) }

    func stat(follows: Bool) throws(MappingError) -> pgw_stat {
      var found = pgw_stat()
      guard unsafe pgw_listing_stat(listing, name, follows, &found) == 0 else { throw .failed(.stat, path) }
      return found
    }

    func open(follows: Bool) throws(MappingError) -> CInt {
      let opened = unsafe pgw_listing_open_file(listing, name, follows)
      guard opened >= 0 else { throw .failed(.open, path) }
      return opened
    }

    var isLink: Bool {
      guard let stat = try? stat(follows: false) else { return false }
      return EntryKind(mode: stat.mode) == .symbolicLink
    }

    /// From the folder that was given, ended by a NUL.
    func relative(to root: FilePath) -> [CChar] {
      var path = path
      _ = path.removePrefix(root)
      return unsafe path.withPlatformString { start in
        var text: [CChar] = []
        var at = 0
        while unsafe start[at] != 0 {
          text.append(unsafe start[at])
          at += 1
        }
        return text + [0]
      }
    }
  }

  private mutating func look(
    at place: Place, _ told: UInt32, _ opening: Bool, visit: (Entry) -> Void
  ) throws(MappingError) {
    var kind = EntryKind(mode: told)
    var known: pgw_stat? = nil
    if told == 0 {
      let stat = try place.stat(follows: false)
      kind = EntryKind(mode: stat.mode)
      known = stat
    }
    let isLink = kind == .symbolicLink
    if isLink {
      guard followsLinks else {
        counts.links += 1
        return
      }
      let stat = try place.stat(follows: true)
      kind = EntryKind(mode: stat.mode)
      known = stat
    }
    switch kind {
    case .directory:
      let stat = if let known { known } else { try place.stat(follows: false) }
      if unsafe patterns.excludesFolder(place.name, path: { place.relative(to: root) }) {
        counts.notMeant += 1
      } else if staysOnFileSystem, stat.device != rootDevice {
        counts.otherFileSystems += 1
      } else if !seenFolders.insert(Node(stat)).inserted {
        counts.loops += 1
      } else {
        pending.append(place.path)
      }
    case .regular:
      guard unsafe patterns.includes(place.name, path: { place.relative(to: root) }) else {
        counts.notMeant += 1
        return
      }
      try file(place, isLink, known, opening, visit: visit)
    default: counts.special += 1
    }
  }

  private mutating func file(
    _ place: Place, _ isLink: Bool, _ known: pgw_stat?, _ opening: Bool, visit: (Entry) -> Void
  ) throws(MappingError) {
    var stat: pgw_stat
    var descriptor: CInt = -1
    if opening {
      descriptor = try place.open(follows: isLink)
      stat = pgw_stat()
      guard unsafe pgw_fstat(descriptor, &stat) == 0 else {
        let error = MappingError.failed(.stat, place.path)
        _ = pgw_close(descriptor)
        throw error
      }
    } else if let known {
      stat = known
    } else {
      stat = try place.stat(follows: false)
    }
    defer { if descriptor >= 0 { _ = pgw_close(descriptor) } }
    // Replaced by something else since it was listed.
    guard EntryKind(mode: stat.mode) == .regular else {
      counts.special += 1
      return
    }
    // A file can lie on another file system than its folder: a mount over a single file.
    if staysOnFileSystem, stat.device != rootDevice {
      counts.otherFileSystems += 1
      return
    }
    if stat.links > 1 || followsLinks, !seenFiles.insert(Node(stat)).inserted {
      counts.hardLinks += 1
      return
    }
    counts.files += 1
    counts.bytes += stat.size
    let kind = fileSystem(of: place.folder, device: stat.device)
    unsafe visit(Entry(stat, kind, descriptor, place.folder, place.name))
  }

  /// Asked once for each device.
  private mutating func fileSystem(of folder: FilePath, device: UInt64) -> FileSystemKind? {
    if let lastFileSystem, lastFileSystem.device == device { return lastFileSystem.kind }
    let kind: FileSystemKind?
    if let known = fileSystems[device] {
      kind = known
    } else {
      kind = (try? ObservedFile(folder))?.fileSystem
      fileSystems[device] = .some(kind)
    }
    lastFileSystem = (device, kind)
    return kind
  }
}

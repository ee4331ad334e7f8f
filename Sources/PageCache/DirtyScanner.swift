// SPDX-License-Identifier: Apache-2.0

internal import CPlatform
public import MemoryMapping
public import SystemPackage

/// Finds out what of files is in memory and not yet on the device.
///
/// Reads only, and not even content: nothing is loaded, no access time moves. FIFOs, sockets and devices are never opened.
public struct DirtyScanner: Sendable {
  /// How to look through folders.
  public struct Options: Sendable, Hashable {
    /// How many files of a folder the report names at most.
    public var top = 10
    /// Follow symbolic links. A folder that is met again is not entered again.
    public var followsLinks = false
    /// Leave out folders on other file systems.
    public var staysOnFileSystem = false

    /// Ten files, no links.
    public init() {}
  }

  /// How it looks.
  public let options: Options

  /// - Parameter options: see ``Options``.
  public init(options: Options = .init()) { self.options = options }

  /// Looks at one file, or at all files of a folder.
  ///
  /// - Parameters:
  ///   - path: a regular file or a folder; a symbolic link to one is followed.
  ///   - progress: gets the share that is done (0 for folders, whose end is not known) and what is done now.
  ///   - isCancelled: asked at each entry; when true the report has what was found so far.
  /// - Throws: `MappingError` when `path` itself cannot be opened or listed, or is neither. What fails below is counted in
  ///   ``DirtyReport/walk``.
  /// - Complexity: some microseconds for each file, and O(folios) of what is in memory of it.
  public func scan(
    _ path: FilePath, progress: (Double, String) -> Void = { _, _ in }, isCancelled: () -> Bool = { false }
  ) throws(MappingError) -> DirtyReport {
    let kind = try EntryKind.fileOrFolder(path, .residency)
    if kind == .regular {
      let file = try ObservedFile(path)
      let stat = try file.regularStat(path, .residency)
      let bytes = DirtyBytes(descriptor: file.number)
      return DirtyReport(
        path: path, walk: nil, size: stat.size, bytes: bytes, dirtyFiles: bytes.total > 0 ? 1 : 0, largest: [],
        fileSystem: file.fileSystem, isInterrupted: false)
    }
    let fileSystem = (try? ObservedFile(path))?.fileSystem
    var walk = TreeWalk(followsLinks: options.followsLinks, staysOnFileSystem: options.staysOnFileSystem)
    var sum = DirtyBytes()
    var dirtyFiles = 0
    var seen = 0
    var largest = TopList<DirtyReport.File>(limit: options.top)
    try walk.run(path, opening: true, isCancelled: isCancelled) { entry in
      let bytes = DirtyBytes(descriptor: entry.descriptor)
      sum.add(bytes)
      if bytes.total > 0 {
        dirtyFiles += 1
        largest.offer(bytes.total) { DirtyReport.File(path: entry.path, size: entry.stat.size, bytes: bytes) }
      }
      seen += 1
      if seen & 0xFF == 0 { progress(0, "\(seen) files seen") }
    }
    return DirtyReport(
      path: path, walk: walk.counts, size: walk.counts.bytes, bytes: sum, dirtyFiles: dirtyFiles,
      largest: largest.elements, fileSystem: fileSystem, isInterrupted: walk.wasCancelled)
  }
}

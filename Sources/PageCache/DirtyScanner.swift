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
  /// - Throws: ``MappingError`` when `path` itself cannot be opened or listed, or is neither. What fails below is counted in
  ///   ``DirtyReport/walk``.
  /// - Complexity: some microseconds for each file, and O(folios) of what is in memory of it.
  public func scan(
    _ path: FilePath, progress: (Double, String) -> Void = { _, _ in }, isCancelled: () -> Bool = { false }
  ) throws(MappingError) -> DirtyReport {
    let kind = try EntryKind.fileOrFolder(path, .residency)
    var found = Collection(limit: max(0, options.top))
    if kind == .regular {
      let file = try ObservedFile(path)
      let stat = try file.stat(path)
      found.add(DirtyReport.File(path: path, size: stat.size, bytes: DirtyBytes(descriptor: file.number)))
      return DirtyReport(
        path: path, walk: nil, size: stat.size, bytes: found.bytes, dirtyFiles: found.dirtyFiles, largest: [],
        fileSystem: file.fileSystem, isInterrupted: false)
    }
    let fileSystem = (try? ObservedFile(path))?.fileSystem
    var walk = TreeWalk(followsLinks: options.followsLinks, staysOnFileSystem: options.staysOnFileSystem)
    var failures: [MappingError] = []
    var seen = 0
    try walk.run(path, isCancelled: isCancelled) { entry in
      do throws(MappingError) {
        let file = try ObservedFile(entry.path)
        found.add(
          DirtyReport.File(path: entry.path, size: entry.stat.size, bytes: DirtyBytes(descriptor: file.number)))
      } catch {
        // Gone since it was listed is no failure.
        if error.code != .notFound { failures.append(error) }
      }
      seen += 1
      if seen & 0xFF == 0 { progress(0, "\(seen) files seen") }
    }
    for failure in failures { walk.fail(failure) }
    return DirtyReport(
      path: path, walk: walk.counts, size: walk.counts.bytes, bytes: found.bytes, dirtyFiles: found.dirtyFiles,
      largest: found.largest, fileSystem: fileSystem, isInterrupted: walk.wasCancelled)
  }

  /// Sums, and the files with most to write in memory of a fixed size.
  private struct Collection {
    let limit: Int
    var bytes = DirtyBytes()
    var dirtyFiles = 0
    private var kept: [DirtyReport.File] = []

    init(limit: Int) { self.limit = limit }

    mutating func add(_ file: DirtyReport.File) {
      bytes.add(file.bytes)
      guard file.bytes.total > 0 else { return }
      dirtyFiles += 1
      kept.append(file)
      // Sorted now and then: O(log limit) for each file.
      let (most, overflow) = limit.multipliedReportingOverflow(by: 2)
      if !overflow, kept.count > most + 64 { kept = largest }
    }

    var largest: [DirtyReport.File] {
      // Equal ones in the order in which they were met.
      Array(
        kept.enumerated().sorted {
          ($1.element.bytes.total, $0.offset) < ($0.element.bytes.total, $1.offset)
        }.prefix(limit).map(\.element))
    }
  }
}

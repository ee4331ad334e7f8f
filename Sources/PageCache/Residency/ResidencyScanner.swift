// SPDX-License-Identifier: Apache-2.0

internal import CPlatform
public import MemoryMapping
public import SystemPackage

/// Finds out what the page cache holds of files.
///
/// ```swift
/// let report = try ResidencyScanner().scan("/srv/data")
/// print(report.pages.share ?? 0, report.files.map(\.path))
/// ```
///
/// Reads only, and no content: nothing is loaded, no access time moves. FIFOs, sockets and devices are never opened. A file is counted
/// once, whatever names it has.
public struct ResidencyScanner: Sendable {
  /// How to look, and what to tell.
  public struct Options: Sendable, Hashable {
    /// What comes first among the files of a folder.
    public enum Order: String, Sendable, Hashable, CaseIterable {
      /// Most pages in memory first; the order of the others is likewise.
      case resident, dirty, evicted, size
      /// Most pages that are not in memory.
      case missing
    }
    /// How many files of a folder the report names at most; nil for all.
    public var top: Int? = 10
    /// Which of them come first.
    public var order = Order.resident
    /// Into how many equal parts to divide each named file for ``FileResidency/shares``; 0 for none, 4096 at most.
    public var parts = 0
    /// Find out how many pages a fault maps, for each named file: maps 4 MiB of it and touches one resident page.
    public var samplesFaults = false
    /// Which files of folders are meant.
    public var patterns = FilePatterns()
    /// Follow symbolic links. A folder that is met again is not entered again.
    public var followsLinks = false
    /// Leave out folders on other file systems.
    public var staysOnFileSystem = false

    /// The ten files with most pages in memory, no links.
    public init() {}
  }

  /// Files that were counted, so that a next path counts them no more. 16 bytes and some for each file.
  public struct CountedFiles: Sendable {
    fileprivate var nodes: Set<TreeWalk.Node> = []
    /// None.
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
  ///   - each: gets every file, in the order in which they are met, without ``FileResidency/shares`` and
  ///     ``FileResidency/pagesPerFault``. Costs the making of each path; nil where sums are enough.
  ///   - progress: gets the share that is done (0 for folders, whose end is not known) and what is done now.
  ///   - isCancelled: asked at each entry; when true the report has what was found so far.
  /// - Throws: `MappingError` when `path` itself cannot be opened or listed, or is neither. What fails below is counted in
  ///   ``ResidencyReport/walk``.
  /// - Complexity: four system calls for each file, and O(folios) of what is in memory of it.
  public func scan(
    _ path: FilePath, each: ((FileResidency) -> Void)? = nil, progress: (Double, String) -> Void = { _, _ in },
    isCancelled: () -> Bool = { false }
  ) throws(MappingError) -> ResidencyReport {
    var counted: CountedFiles? = nil
    return try scan(path, &counted, each, progress, isCancelled)
  }

  /// The same, for one of several paths: files that were counted under an earlier one are not counted again.
  ///
  /// - Parameters:
  ///   - path: as above.
  ///   - counted: files of earlier paths; grows by those of this one.
  ///   - each: as above.
  ///   - progress: as above.
  ///   - isCancelled: as above.
  public func scan(
    _ path: FilePath, notIn counted: inout CountedFiles, each: ((FileResidency) -> Void)? = nil,
    progress: (Double, String) -> Void = { _, _ in }, isCancelled: () -> Bool = { false }
  ) throws(MappingError) -> ResidencyReport {
    // Moved, so that a set of a million files is not copied for each path.
    var moved: CountedFiles? = counted
    counted = CountedFiles()
    defer { counted = moved ?? CountedFiles() }
    return try scan(path, &moved, each, progress, isCancelled)
  }

  private func scan(
    _ path: FilePath, _ counted: inout CountedFiles?, _ each: ((FileResidency) -> Void)?,
    _ progress: (Double, String) -> Void, _ isCancelled: () -> Bool
  ) throws(MappingError) -> ResidencyReport {
    let kind = try EntryKind.fileOrFolder(path, .residency)
    if kind == .regular { return try one(path, &counted, each) }
    let fileSystem = (try? ObservedFile(path))?.fileSystem
    var walk = TreeWalk(
      followsLinks: options.followsLinks, staysOnFileSystem: options.staysOnFileSystem, patterns: options.patterns)
    var sum = CachedPages()
    var residentFiles = 0
    var before = (files: 0, bytes: Int64(0))
    var seen = 0
    var first = TopList<FileResidency>(limit: options.top)
    try walk.run(path, opening: true, isCancelled: isCancelled) { entry in
      seen += 1
      if seen & 0xFF == 0 { progress(0, "\(seen) files seen") }
      if counted?.nodes.insert(TreeWalk.Node(entry.stat)).inserted == false {
        before.files += 1
        before.bytes += entry.stat.size
        return
      }
      let pages = CachedPages(descriptor: entry.descriptor, range: 0..<max(0, entry.stat.size))
      sum.add(pages)
      if pages.resident > 0 { residentFiles += 1 }
      first.offer(options.order.rank(pages, size: entry.stat.size)) {
        FileResidency(path: entry.path, stat: entry.stat, pages: pages)
      }
      if let each { each(FileResidency(path: entry.path, stat: entry.stat, pages: pages)) }
    }
    var files = first.elements
    if options.parts > 0 || options.samplesFaults {
      for index in files.indices where !isCancelled() { addDetails(&files[index]) }
    }
    var counts = walk.counts
    counts.files -= before.files
    counts.bytes -= before.bytes
    counts.countedBefore = before.files
    return ResidencyReport(
      path: path, walk: counts, size: counts.bytes, pages: sum, residentFiles: residentFiles, files: files,
      fileSystem: fileSystem, isInterrupted: walk.wasCancelled)
  }

  private func one(
    _ path: FilePath, _ counted: inout CountedFiles?, _ each: ((FileResidency) -> Void)?
  ) throws(MappingError) -> ResidencyReport {
    let file = try ObservedFile(path)
    let stat = try file.regularStat(path, .residency)
    let told = CachedPages.parts(descriptor: file.number, size: max(0, stat.size), parts: min(options.parts, 4096))
    let pages = told.whole
    var found = FileResidency(path: path, stat: stat, pages: pages)
    if options.parts > 0 { found.shares = told.parts.map { $0.share ?? 0 } }
    found.addDetails(file.number, parts: min(options.parts, 4096), sampling: options.samplesFaults)
    let isNew = counted?.nodes.insert(TreeWalk.Node(stat)).inserted ?? true
    each?(found)
    return ResidencyReport(
      path: path, walk: nil, size: isNew ? stat.size : 0, pages: isNew ? pages : CachedPages(),
      residentFiles: isNew && pages.resident > 0 ? 1 : 0, files: [found], fileSystem: file.fileSystem,
      isInterrupted: false)
  }

  /// By a second opening: the file's place in the order is known only at the end. Gone or replaced since: no details.
  private func addDetails(_ file: inout FileResidency) {
    guard let open = try? ObservedFile(file.path), let stat = try? open.stat(file.path), stat.size == file.size else {
      return
    }
    file.addDetails(open.number, parts: min(options.parts, 4096), sampling: options.samplesFaults)
  }
}

extension ResidencyScanner.Options.Order {
  /// The higher, the earlier.
  @inline(__always)
  fileprivate func rank(_ pages: CachedPages, size: Int64) -> Int64 {
    switch self {
    case .resident: pages.resident
    case .dirty: pages.dirty + pages.inWriteBack
    case .evicted: pages.evicted
    case .size: size
    case .missing: pages.pages - pages.resident
    }
  }
}

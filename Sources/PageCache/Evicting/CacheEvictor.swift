// SPDX-License-Identifier: Apache-2.0

internal import CPlatform
public import MemoryMapping
public import SystemPackage

/// Takes files out of the page cache, and tells what stayed and why.
///
/// ```swift
/// let report = try CacheEvictor().evict("/srv/old.log")
/// for file in report.stayed { print(file.path, file.pages.resident, file.reasons) }
/// ```
///
/// The kernel drops only pages that are clean and that no process has in its page table, and reports success for all others as well.
/// So dirty files are synced first, everything is counted again afterwards, and who maps what stayed is looked up. No content changes,
/// and nothing is taken from those who map a file: their pages stay.
public struct CacheEvictor: Sendable {
  /// What to do with files that have dirty pages.
  public enum DirtyPolicy: String, Sendable, Hashable, CaseIterable {
    /// Bring them to the device first (`fdatasync`), and wait.
    case sync
    /// Leave the whole file alone and count it.
    case refuse
  }

  /// How to evict.
  public struct Options: Sendable, Hashable {
    /// See ``DirtyPolicy``.
    public var dirty = DirtyPolicy.sync
    /// Look up who holds what stayed: one pass over all processes.
    public var namesHolders = true
    /// Which files of folders are meant.
    public var patterns = FilePatterns()
    /// Follow symbolic links. A folder that is met again is not entered again.
    public var followsLinks = false
    /// Leave out folders on other file systems.
    public var staysOnFileSystem = false

    /// Sync what is dirty, name who holds what stays.
    public init() {}
  }

  /// How it evicts.
  public let options: Options

  /// - Parameter options: see ``Options``.
  public init(options: Options = .init()) { self.options = options }

  /// Evicts one file or a part of it, or all files of a folder.
  ///
  /// - Parameters:
  ///   - path: a regular file or a folder; a symbolic link to one is followed.
  ///   - range: bytes, of each file; nil for all. Pages that lie only partly in it stay, except the last of the file.
  ///   - progress: gets the share that is done (0 for folders, whose end is not known) and what is done now.
  ///   - isCancelled: asked between two files.
  /// - Throws: `MappingError` when `path` itself cannot be opened or listed, is neither, or its sync failed (which is final: see
  ///   ``FileFlusher``). What fails below is counted in ``EvictReport/walk``. Pages that stay are no error.
  /// - Complexity: some microseconds for each file, the syncs, and one pass over all processes when something stayed.
  public func evict(
    _ path: FilePath, range: Range<Int64>? = nil, progress: (Double, String) -> Void = { _, _ in },
    isCancelled: () -> Bool = { false }
  ) throws(MappingError) -> EvictReport {
    let start = pgw_now_ns()
    let kind = try EntryKind.fileOrFolder(path, .init("evict"))
    let fileSystem = (try? ObservedFile(path))?.fileSystem
    var run = EvictRun(options)
    var walk: TreeWalk? = nil
    if kind == .regular {
      let file = try ObservedFile(path)
      let stat = try file.regularStat(path, .init("evict"))
      if let failure = run.file(file.number, stat, fileSystem, range, path: { path }) { throw failure }
    } else {
      var tree = TreeWalk(
        followsLinks: options.followsLinks, staysOnFileSystem: options.staysOnFileSystem, patterns: options.patterns)
      var failures: [MappingError] = []
      var seen = 0
      try tree.run(path, opening: true, isCancelled: isCancelled) { entry in
        if let failure = run.file(
          entry.descriptor, entry.stat, entry.fileSystem, range, path: { entry.path })
        {
          failures.append(failure)
        }
        seen += 1
        if seen & 0x3F == 0 { progress(0, "\(seen) files evicted") }
      }
      for failure in failures { tree.fail(failure) }
      walk = tree
    }
    let stayed = run.explained(isCancelled)
    return EvictReport(
      path: path, walk: walk?.counts, fileSystem: fileSystem, size: run.size, before: run.before, after: run.after,
      synced: run.synced, refused: run.refused, stayed: stayed, stayedFiles: run.stayedFiles,
      isInterrupted: walk?.wasCancelled ?? false, nanoseconds: pgw_now_ns() - start)
  }
}

/// One run of a ``CacheEvictor``.
private struct EvictRun {
  let options: CacheEvictor.Options
  var size: Int64 = 0
  var before = CachedPages()
  var after = CachedPages()
  var synced = 0
  var refused = 0
  var stayedFiles = 0
  private var stayed = TopList<Candidate>(limit: 1000)

  private struct Candidate {
    let path: FilePath
    let stat: pgw_stat
    let pages: CachedPages
    let fileSystem: FileSystemKind?
  }

  init(_ options: CacheEvictor.Options) { self.options = options }

  /// Evicts an open file.
  ///
  /// - Returns: why it could not be tried.
  mutating func file(
    _ descriptor: CInt, _ stat: pgw_stat, _ fileSystem: FileSystemKind?, _ range: Range<Int64>?, path: () -> FilePath
  ) -> MappingError? {
    size += stat.size
    let asked = (range ?? 0..<max(0, stat.size)).clamped(to: 0..<max(0, stat.size))
    let known = CachedPages(descriptor: descriptor, range: asked)
    before.add(known)
    guard !asked.isEmpty, known.knownFiles == 0 || known.resident > 0 else {
      after.add(known)
      return nil
    }
    // Not told of: maybe dirty.
    let isDirty = known.knownFiles == 0 || !known.hasDetails || known.dirty + known.inWriteBack > 0
    var failure: MappingError? = nil
    if isDirty, options.dirty == .sync {
      if pgw_storage_sync(descriptor, PGW_SYNC_DATA) == 0 {
        synced += known.dirty + known.inWriteBack > 0 ? 1 : 0
      } else {
        failure = .failedSync(path())
      }
    }
    if known.dirty + known.inWriteBack > 0, options.dirty == .refuse {
      refused += 1
    } else if failure == nil {
      // To the end, and so with pages behind it, where all is meant.
      let length = asked.upperBound == stat.size ? 0 : asked.upperBound - asked.lowerBound
      if pgw_fadvise(descriptor, asked.lowerBound, length, CInt(PGW_FADV_DONTNEED)) != 0 {
        failure = .failed(.init("evict"), path())
      }
    }
    let left = CachedPages(descriptor: descriptor, range: asked)
    after.add(left)
    if left.resident > 0 {
      stayedFiles += 1
      stayed.offer(left.resident) { Candidate(path: path(), stat: stat, pages: left, fileSystem: fileSystem) }
    }
    return failure
  }

  /// Why what stayed did.
  func explained(_ isCancelled: () -> Bool) -> [EvictReport.StayedFile] {
    let files = stayed.elements
    guard !files.isEmpty else { return [] }
    var held: [FileHolders]? = nil
    var places: [Int] = []
    if options.namesHolders {
      var index = HeldFileIndex()
      for file in files {
        let place = index.add(device: file.stat.device, inode: file.stat.inode)
        index.learn(
          path: file.path, device: file.stat.device, inode: file.stat.inode, mode: file.stat.mode, number: place)
        places.append(place)
      }
      held = (try? index.search(isCancelled: isCancelled))?.files
    }
    return files.enumerated().map { number, file in
      let holders = held.map { $0[places[number]] }
      return EvictReport.StayedFile(
        path: file.path, pages: file.pages, reasons: Self.reasons(file, holders), holders: holders)
    }
  }

  private static func reasons(_ file: Candidate, _ holders: FileHolders?) -> [EvictReport.Reason] {
    var reasons: [EvictReport.Reason] = []
    if let kind = file.fileSystem, kind.livesInMemory { reasons.append(.noDevice(kind.name)) }
    if let holders, holders.mappingCount > 0 {
      reasons.append(
        .mapped(
          mappings: holders.mappingCount, processes: holders.holders.count { !$0.mappings.isEmpty },
          lockedBytes: holders.lockedBytes))
    }
    if file.pages.dirty > 0 { reasons.append(.dirty(pages: file.pages.dirty)) }
    if file.pages.inWriteBack > 0 { reasons.append(.inWriteBack(pages: file.pages.inWriteBack)) }
    if reasons.isEmpty, let unknown = holders?.processes.unknown, unknown > 0 {
      reasons.append(.unknownProcesses(unknown))
    }
    return reasons.isEmpty ? [.unknown] : reasons
  }
}

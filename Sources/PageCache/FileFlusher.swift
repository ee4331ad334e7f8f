// SPDX-License-Identifier: Apache-2.0

internal import CPlatform
public import MemoryMapping
public import SystemPackage

#if canImport(Glibc)
  internal import Glibc
#elseif canImport(Musl)
  internal import Musl
#elseif canImport(Darwin)
  internal import Darwin
#endif

/// Brings what is dirty of files to the device, whoever stored it: of one file, or of all files of a folder with their names.
///
/// Changes no content, and needs no more than the right to read. **A failed sync is final**: the kernel tells each failure once to
/// whoever had the file open, marks the pages clean, and reports success the next time. So nothing is tried again here, and the
/// error says it. A program that has the file open gets the same failure at its own next sync; this takes nothing from it.
public struct FileFlusher: Sendable {
  /// How far, and how to go through folders.
  public struct Options: Sendable, Hashable {
    /// How far to bring everything. With `queued` nothing is durable, and no names are flushed.
    public var level = FlushLevel.data
    /// Also make the name of the given path durable: sync the folder it lies in.
    public var syncsName = false
    /// Follow symbolic links. A folder that is met again is not entered again.
    public var followsLinks = false
    /// Leave out folders on other file systems.
    public var staysOnFileSystem = false

    /// Level `data`, no links.
    public init() {}
  }

  /// How it flushes.
  public let options: Options

  /// - Parameter options: see ``Options``.
  public init(options: Options = .init()) { self.options = options }

  /// Flushes one file, or all files of a folder and all its folders' names.
  ///
  /// In a folder the files come first, then the folders from the bottom up: a name that is durable stands for content that is.
  /// Files that appear meanwhile may be left out.
  ///
  /// - Parameters:
  ///   - path: a regular file or a folder; a symbolic link to one is followed.
  ///   - progress: gets the share that is done (0 for folders, whose end is not known) and what is done now.
  ///   - isCancelled: asked between two files; when true the report has what was done so far. A sync that is under way ends first.
  /// - Throws: `MappingError` when `path` itself is neither or cannot be opened, or its sync failed. What fails below is counted
  ///   in ``FlushReport/walk``.
  /// - Complexity: one sync for each file and folder: some microseconds where nothing is dirty, else 0.1 to 20 ms and what there
  ///   is to write. Write-back of the next files is begun before the one waited for, so that the device has work in advance.
  public func flush(
    _ path: FilePath, progress: (Double, String) -> Void = { _, _ in }, isCancelled: () -> Bool = { false }
  ) throws(MappingError) -> FlushReport {
    let start = pgw_now_ns()
    let kind = try EntryKind.fileOrFolder(path, .flush)
    let fileSystem = (try? ObservedFile(path))?.fileSystem
    var batch = FlushBatch(level: options.level)
    var counts: WalkCounts?
    var folders: Int = 0
    var wasCancelled = false
    if kind == .regular {
      try batch.add(path)
      batch.finish()
      if let failure = batch.failures.first { throw failure }
    } else {
      var walk = TreeWalk(followsLinks: options.followsLinks, staysOnFileSystem: options.staysOnFileSystem)
      var seenFolders: [FilePath] = []
      try walk.run(
        path, isCancelled: isCancelled, enter: { seenFolders.append($0) },
        visit: { entry in
          do throws(MappingError) {
            try batch.add(entry.path)
          } catch {
            // Gone since it was listed is no failure.
            if error.code != .notFound { batch.failures.append(error) }
          }
          progress(0, "\(batch.files) files flushed")
        })
      batch.finish()
      wasCancelled = walk.wasCancelled
      if options.level != .queued {
        for folder in seenFolders.reversed() where !wasCancelled {
          if isCancelled() {
            wasCancelled = true
            break
          }
          do throws(MappingError) {
            try Self.syncFolder(folder)
            folders += 1
          } catch {
            if error.code != .notFound { batch.failures.append(error) }
          }
          progress(0, "\(folders) of \(seenFolders.count) folders flushed")
        }
      }
      for failure in batch.failures { walk.fail(failure) }
      counts = walk.counts
    }
    if options.syncsName, options.level != .queued, !wasCancelled {
      try Self.syncFolder(Self.folder(of: path))
      folders += 1
    }
    return FlushReport(
      path: path, level: options.level, walk: counts, files: batch.files, folders: folders, before: batch.before,
      after: batch.after, nanoseconds: pgw_now_ns() - start, fileSystem: fileSystem, isInterrupted: wasCancelled)
  }

  private static func syncFolder(_ path: FilePath) throws(MappingError) {
    guard unsafe path.withPlatformString({ unsafe pgw_storage_sync_folder($0) }) == 0 else {
      throw .failedSync(path)
    }
  }

  /// Where the name stands that leads to the file: behind symbolic links too.
  private static func folder(of path: FilePath) throws(MappingError) -> FilePath {
    guard let resolved = unsafe path.withPlatformString({ unsafe pgw_real_path($0) }) else {
      throw .failed(.flush, path)
    }
    defer { unsafe free(resolved) }
    return unsafe FilePath(platformString: resolved).removingLastComponent()
  }
}

/// Some open files: write-back has begun for all of them before the first is waited for.
private struct FlushBatch {
  let level: FlushLevel
  var files = 0
  var before = DirtyBytes()
  var after = DirtyBytes()
  var failures: [MappingError] = []
  private var open: [(descriptor: CInt, path: FilePath, dirty: DirtyBytes)] = []
  /// Far below the limit of open files.
  private static let limit = 32

  init(level: FlushLevel) { self.level = level }

  mutating func add(_ path: FilePath) throws(MappingError) {
    let file = try ObservedFile(path)
    _ = try file.regularStat(path, .flush)
    let dirty = DirtyBytes(descriptor: file.number)
    if pgw_storage_writeback(file.number, 0, 0) != 0, level == .queued {
      let error = MappingError.failedSync(path)
      // A file that has no such call has nothing to write back either; Darwin has none at all.
      if error.code != .notSupported, error.errno != .illegalSeek { throw error }
    }
    open.append((file.take(), path, dirty))
    if open.count == Self.limit { finish() }
  }

  /// Waits for the files that are open.
  mutating func finish() {
    for (descriptor, path, dirty) in open {
      defer { _ = pgw_close(descriptor) }
      if level != .queued {
        let depth = level == .device ? PGW_SYNC_DEVICE : level == .barrier ? PGW_SYNC_BARRIER : PGW_SYNC_DATA
        guard pgw_storage_sync(descriptor, depth) == 0 else {
          failures.append(.failedSync(path))
          continue
        }
      }
      files += 1
      before.add(dirty)
      after.add(DirtyBytes(descriptor: descriptor))
    }
    open = []
  }
}

extension MappingError {
  /// The error of a sync that just failed. Reads the thread's errno.
  internal static func failedSync(_ path: FilePath) -> MappingError {
    var error = MappingError.failed(.flush, path)
    switch error.errno {
    case .ioError?, .noSpace?, .diskQuotaExceeded?:
      error.detail = .note(
        "a failed sync is final: the kernel tells it once and forgets which bytes were lost, so a later success proves nothing"
      )
    case .invalidArgument?, .notSupported?: error.code = .notSupported
    default: break
    }
    return error
  }
}

// SPDX-License-Identifier: Apache-2.0

internal import CPlatform
public import MemoryMapping
public import SystemPackage

/// Who holds the files of some paths: one pass over the processes for all of them.
///
/// Opens no file but, on file systems without a block device of their own (tmpfs, overlayfs, btrfs, network), one of each to see
/// what lists of mappings call it. Of a folder, the files below it are found first; what is held of them is found by device
/// and inode. A file that was deleted, so that its name no longer stands in the folder, is therefore not found there:
/// ``HazardScanner`` finds those. Who has a folder itself open, or as its working folder, is not looked for.
public struct HolderScanner: Sendable {
  /// How to look through folders.
  public struct Options: Sendable, Hashable {
    /// Follow symbolic links. A folder that is met again is not entered again.
    public var followsLinks = false
    /// Leave out folders on other file systems.
    public var staysOnFileSystem = false

    /// No links.
    public init() {}
  }

  /// How it looks.
  public let options: Options

  /// - Parameter options: see ``Options``.
  public init(options: Options = .init()) { self.options = options }

  /// Looks for the holders of the files of all paths.
  ///
  /// - Parameters:
  ///   - paths: files of any kind and folders; symbolic links to them are followed.
  ///   - progress: gets the share that is done (0 while folders are read) and what is done now.
  ///   - isCancelled: asked at each entry and process; when true the report has what was found so far.
  /// - Throws: `MappingError` when the processes cannot be listed. What fails for one path is in ``HoldersScan/failures``.
  /// - Complexity: as ``FileHolders/find(_:isCancelled:)-(FilePath,_)``, and one stat and the memory of a path for each file
  ///   below a folder.
  public func scan(
    _ paths: [FilePath], progress: (Double, String) -> Void = { _, _ in }, isCancelled: () -> Bool = { false }
  ) throws(MappingError) -> HoldersScan {
    var index = HeldFileIndex()
    var asked: [Asked] = []
    var failures: [(path: FilePath, error: MappingError)] = []
    var wasCancelled = false
    for path in paths where !wasCancelled {
      do throws(MappingError) {
        let stat = try EntryKind.stat(path, follows: true)
        guard EntryKind(mode: stat.mode) == .directory else {
          let number = index.add(path, stat)
          asked.append(Asked(path: path, walk: nil, files: [(path, stat.size, number)]))
          continue
        }
        var walk = TreeWalk(followsLinks: options.followsLinks, staysOnFileSystem: options.staysOnFileSystem)
        var files: [(FilePath, Int64, Int)] = []
        try walk.run(path, isCancelled: isCancelled) { entry in
          files.append((entry.path, entry.stat.size, index.add(entry.path, entry.stat)))
          if files.count & 0xFF == 0 { progress(0, "\(files.count) files seen") }
        }
        wasCancelled = walk.wasCancelled
        asked.append(Asked(path: path, walk: walk.counts, files: files))
      } catch {
        failures.append((path, error))
      }
    }
    let found = try index.search(progress: progress, isCancelled: { wasCancelled || isCancelled() })
    let reports = asked.map { asked in
      let files = asked.files.map { path, size, number in
        HoldersReport.File(path: path, size: size, held: found.files[number])
      }
      return HoldersReport(
        path: asked.path, walk: asked.walk,
        files: asked.walk == nil ? files : files.filter { !$0.held.holders.isEmpty }, processes: found.processes,
        isInterrupted: wasCancelled || found.isInterrupted)
    }
    return HoldersScan(
      reports: reports, failures: failures.map { HoldersScan.Failure(path: $0.path, error: $0.error) },
      processes: found.processes)
  }

  private struct Asked {
    let path: FilePath
    let walk: WalkCounts?
    let files: [(path: FilePath, size: Int64, number: Int)]
  }
}

extension HeldFileIndex {
  /// Adds a file by its path; how lists of mappings call it is found out once.
  fileprivate mutating func add(_ path: FilePath, _ stat: pgw_stat) -> Int {
    let known = count
    let number = add(device: stat.device, inode: stat.inode)
    if number == known {
      learn(path: path, device: stat.device, inode: stat.inode, mode: stat.mode, number: number)
    }
    return number
  }
}

/// What a ``HolderScanner`` found.
public struct HoldersScan: Sendable {
  /// In the order of the paths, without those that failed.
  public let reports: [HoldersReport]
  /// The paths that could not be looked at.
  public let failures: [Failure]
  /// How many processes were looked at, and how many could not be.
  public let processes: ProcessCounts

  /// A path that could not be looked at, and why.
  public struct Failure: Sendable {
    /// As it was given.
    public let path: FilePath
    /// Why.
    public let error: MappingError
  }
}

/// Who holds a file, or the files of a folder.
public struct HoldersReport: Sendable {
  /// As it was given.
  public let path: FilePath
  /// The walk through the folder; nil for a single file.
  public let walk: WalkCounts?
  /// The file itself, whether somebody holds it or not; of a folder those that somebody holds, in the order in which they were met.
  public let files: [File]
  /// How many processes were looked at, and how many could not be.
  public let processes: ProcessCounts
  /// True when it was cancelled: counts are of a part.
  public let isInterrupted: Bool

  /// One file and its holders.
  public struct File: Sendable, Hashable {
    /// As it was given, or begins with the folder's path.
    public let path: FilePath
    /// Bytes of the file.
    public let size: Int64
    /// Who holds it.
    public let held: FileHolders
  }
}

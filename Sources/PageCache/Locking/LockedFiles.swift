// SPDX-License-Identifier: Apache-2.0

internal import CPlatform
@_spi(Testing) public import MemoryMapping
public import SystemPackage

/// Files that are kept in memory as long as this lives.
///
/// ```swift
/// var locked = LockedFiles()
/// try locked.add("/srv/index")
/// // as long as `locked` lives, nothing of it is evicted
/// ```
///
/// Maps each file and locks its pages, which loads them. What a file grows by afterwards is not locked; a file that is truncated
/// loses its lock with its pages, without a signal: nothing here touches them. C: `mlock`.
public struct LockedFiles: ~Copyable, Sendable {
  /// How to go through folders.
  public struct Options: Sendable, Hashable {
    /// Do not load what is missing: lock each page once somebody has loaded it. C: `MLOCK_ONFAULT`.
    public var onFault = false
    /// Lock even where that leaves less than a sixteenth of the memory that is free: the system may end processes then.
    public var exceedsRoom = false
    /// Which files of folders are meant.
    public var patterns = FilePatterns()
    /// Follow symbolic links. A folder that is met again is not entered again.
    public var followsLinks = false
    /// Leave out folders on other file systems.
    public var staysOnFileSystem = false

    /// Load and lock, within the memory there is.
    public init() {}
  }

  /// Files that are locked.
  public private(set) var files = 0
  /// Bytes of them, in whole pages.
  public private(set) var bytes: Int64 = 0
  private let ranges = LockedRanges()
  private var counted: Set<TreeWalk.Node> = []

  /// Locks nothing yet.
  public init() {}

  /// What this process may lock.
  public struct Limit: Sendable, Hashable {
    /// Bytes that may be locked in all; nil without a limit. C: `RLIMIT_MEMLOCK`, the soft one.
    public let bytes: Int64?
    /// What it could be raised to without privilege; nil without a limit.
    public let hard: Int64?
    /// Bytes that this process has locked now. C: `VmLck`.
    public let used: Int64
    /// True when the limit does not count for this process. C: `CAP_IPC_LOCK`.
    public let isPrivileged: Bool

    /// As it is now.
    public init() {
      var found = pgw_lock_limit()
      unsafe pgw_read_lock_limit(&found)
      bytes = found.soft < 0 ? nil : found.soft
      hard = found.hard < 0 ? nil : found.hard
      used = found.used
      isPrivileged = found.is_privileged
    }

    /// Bytes that may still be locked; nil without a limit.
    public var room: Int64? { isPrivileged ? nil : bytes.map { max(0, $0 - used) } }
  }

  /// Locks one file or a part of it, or all files of a folder. A file that is locked here already is left out.
  ///
  /// - Parameters:
  ///   - path: a regular file or a folder; a symbolic link to one is followed.
  ///   - range: bytes, of each file, widened to whole pages; nil for all.
  ///   - options: see ``Options``.
  ///   - progress: gets the share that is done (0 for folders, whose end is not known) and what is done now.
  ///   - isCancelled: asked between windows of 64 MiB.
  /// - Returns: the walk through a folder; nil for a single file.
  /// - Throws: `MappingError`: `lockLimitReached` with the limit, what is used of it and how to raise it; `memoryExhausted` when
  ///   too little memory would be left, before anything of the file is locked; `interrupted`; what opening and mapping say. What was
  ///   locked before stays so. In a folder the first of these ends the walk; what cannot be opened is counted and left out.
  @discardableResult
  public mutating func add(
    _ path: FilePath, range: Range<Int64>? = nil, options: Options = .init(),
    progress: (Double, String) -> Void = { _, _ in }, isCancelled: () -> Bool = { false }
  ) throws(MappingError) -> WalkCounts? {
    if try EntryKind.fileOrFolder(path, .lock) == .regular {
      let file = try ObservedFile(path)
      let stat = try file.regularStat(path, .lock)
      try add(file.number, stat, range, options, progress, isCancelled) { path }
      return nil
    }
    var walk = TreeWalk(
      followsLinks: options.followsLinks, staysOnFileSystem: options.staysOnFileSystem, patterns: options.patterns)
    var failure: MappingError? = nil
    var pending: [FilePath] = []
    try walk.run(path, isCancelled: isCancelled) { entry in pending.append(entry.path) }
    for name in pending where failure == nil {
      do throws(MappingError) {
        let file = try ObservedFile(name)
        let stat = try file.regularStat(name, .lock)
        do throws(MappingError) {
          try add(file.number, stat, range, options, { progress(0, $1) }, isCancelled, path: { name })
        } catch {
          failure = error
        }
      } catch {
        walk.fail(error)
      }
    }
    if let failure { throw failure }
    return walk.counts
  }

  private mutating func add(
    _ descriptor: CInt, _ stat: pgw_stat, _ range: Range<Int64>?, _ options: Options,
    _ progress: (Double, String) -> Void, _ isCancelled: () -> Bool, path: () -> FilePath
  ) throws(MappingError) {
    let page = Int64(SystemPage.size)
    let asked = (range ?? 0..<max(0, stat.size)).clamped(to: 0..<max(0, stat.size))
    guard !asked.isEmpty, !counted.contains(TreeWalk.Node(stat)) else { return }
    let start = asked.lowerBound / page * page
    let length = (asked.upperBound - start + page - 1) / page * page
    let limit = Limit()
    if let room = limit.room, length > room { throw limit.error(path(), length) }
    if !options.onFault, !options.exceedsRoom, let room = MemoryRoom.bytes {
      let known = CachedPages(descriptor: descriptor, range: asked)
      let missing = known.knownFiles > 0 ? (known.pages - known.resident) * page : length
      if missing > room / 16 * 15 {
        throw MappingError(
          .memoryExhausted, operation: .lock, path: path(), offset: start, length: length,
          detail: .note("it would load \(missing) bytes, and only \(room) are free here"))
      }
    }
    guard let base = unsafe pgw_map(nil, Int(length), 1, CInt(PGW_MAP_SHARED), descriptor, start) else {
      throw .failed(.map, path(), offset: start, length: length)
    }
    unsafe ranges.add(base, Int(length))
    let window: Int64 = 64 << 20
    var at: Int64 = 0
    while at < length {
      if isCancelled() { throw MappingError(.interrupted, operation: .lock, path: path(), offset: start + at) }
      let count = min(window, length - at)
      if unsafe pgw_lock(base + Int(at), Int(count), options.onFault) != 0 {
        let reason = MappingError.currentErrno
        // Behind the end of a file that shrank, or the device failed: memory and limit have other numbers.
        guard reason == .noMemory || reason == .resourceTemporarilyUnavailable || reason == .notPermitted else {
          throw .failed(.lock, path(), offset: start + at, length: count)
        }
        // The whole window can also have no memory behind it because the file ends before it.
        var now = pgw_stat()
        if unsafe pgw_fstat(descriptor, &now) == 0, now.size < min(start + at + count, stat.size) {
          throw MappingError(
            .truncated, operation: .lock, path: path(), offset: start + at, length: count, detail: .fileSize(now.size))
        }
        throw Limit().error(path(), count)
      }
      bytes += count
      at += count
      progress(Double(at) / Double(length), "\(bytes >> 20) MiB locked")
    }
    files += 1
    if range == nil { counted.insert(TreeWalk.Node(stat)) }
  }
}

extension LockedFiles.Limit {
  fileprivate func error(_ path: FilePath, _ wanted: Int64) -> MappingError {
    let allowed = bytes.map { "\($0)" } ?? "any number of"
    let raise =
      hard.map { $0 > (bytes ?? 0) ? "'ulimit -l \($0 / 1024)' is allowed here; " : "" }
      ?? "'ulimit -l unlimited' is allowed here; "
    return MappingError(
      .lockLimitReached, operation: .lock, errno: .noMemory, path: path, length: wanted,
      detail: .note(
        "RLIMIT_MEMLOCK allows \(allowed) bytes, \(used) are used, \(wanted) are wanted; \(raise)more takes LimitMEMLOCK= of the "
          + "service, limits.conf, or CAP_IPC_LOCK"))
  }
}

/// The mappings, which end with this.
@safe private final class LockedRanges: @unchecked Sendable {
  private var ranges: [(base: UnsafeMutableRawPointer, length: Int)] = unsafe []

  /// Called by the one owner only.
  func add(_ base: UnsafeMutableRawPointer, _ length: Int) { unsafe ranges.append((base, length)) }

  deinit { while let range = unsafe ranges.popLast() { _ = unsafe pgw_unmap(range.base, range.length) } }
}

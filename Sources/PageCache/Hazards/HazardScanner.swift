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

/// Looks for mappings that can kill or mislead their process: see ``Hazard/Kind``.
///
/// Reads only. Of a file, its numbers are asked and, where it is local and has holes, the list of its blocks; no content is read. A
/// network file system whose server does not answer holds the scan up.
public struct HazardScanner: Sendable {
  /// Which mappings to look at.
  public enum Scope: Sendable, Hashable {
    /// All of all processes that this user may look at.
    case all
    /// All of one process.
    case process(Int32)
    /// Those of these files, and of all files below these folders, in all processes. Of a file, those of the same device and inode
    /// and those of the same path, so that one that was replaced is found too; of a folder, those whose path begins with it.
    case paths([FilePath])
  }

  /// Kinds that are not reported.
  public let ignored: Set<Hazard.Kind>

  /// - Parameter ignored: kinds to leave out, where they are known and meant to be so.
  public init(ignoring ignored: Set<Hazard.Kind> = []) { self.ignored = ignored }

  /// Looks once.
  ///
  /// - Parameters:
  ///   - scope: which mappings.
  ///   - progress: gets the share that is done and what is done now.
  ///   - isCancelled: asked for each process; when true the report has what was found so far.
  /// - Throws: `MappingError` when the processes cannot be listed; for one process when it is not there or may not be read
  ///   (`permissionDenied`); for a path when nothing stands there and nothing of that name is mapped either.
  /// - Complexity: O(mappings), and some system calls for each process and for each file that is mapped anywhere.
  public func scan(
    _ scope: Scope, progress: (Double, String) -> Void = { _, _ in }, isCancelled: () -> Bool = { false }
  ) throws(MappingError) -> HazardReport {
    var look = HazardLook()
    var counts = ProcessCounts()
    var isInterrupted = false
    if case .process(let process) = scope {
      try look.one(process)
      counts.seen = 1
    } else {
      var wanted = WantedPaths()
      if case .paths(let paths) = scope { try wanted.add(paths) }
      let list = try ProcessList.all()
      counts.areHidden = ProcessList.areHidden(in: list)
      for (position, process) in list.enumerated() {
        if isCancelled() {
          isInterrupted = true
          counts.unknown += list.count - position
          break
        }
        progress(Double(position) / Double(list.count), "\(position) of \(list.count) processes seen")
        switch look.look(at: process, wanted: &wanted) {
        case .seen: counts.seen += 1
        case .nothing: break
        case .refused:
          counts.seen += 1
          counts.unknown += 1
        }
      }
      if !isInterrupted, let missing = wanted.missing { throw missing }
    }
    return HazardReport(
      hazards: look.sorted.filter { !ignored.contains($0.kind) }, processes: counts, mappings: look.mappings,
      unknownFiles: look.unknownFiles,
      isInterrupted: isInterrupted)
  }
}

/// The files and folders whose mappings are wanted; all where there are none.
private struct WantedPaths {
  private struct Wanted {
    let path: [UInt8]
    let isFolder: Bool
    let error: MappingError?
    var wasMet = false
  }
  private var wanted: [Wanted] = []
  private var index = HeldFileIndex()

  var isEmpty: Bool { wanted.isEmpty }

  mutating func add(_ paths: [FilePath]) throws(MappingError) {
    for path in paths {
      do throws(MappingError) {
        let stat = try EntryKind.stat(path, follows: true)
        let isFolder = EntryKind(mode: stat.mode) == .directory
        if !isFolder {
          let number = index.add(device: stat.device, inode: stat.inode)
          index.learn(path: path, device: stat.device, inode: stat.inode, mode: stat.mode, number: number)
        }
        wanted.append(Wanted(path: Self.bytes(try Self.resolved(path)), isFolder: isFolder, error: nil))
      } catch {
        guard error.code == .notFound, let name = path.lastComponent else { throw error }
        // Deleted: its folder may still be there, and somebody may map it.
        let folder = path.removingLastComponent()
        guard let parent = try? Self.resolved(folder.isEmpty ? "." : folder) else { throw error }
        wanted.append(Wanted(path: Self.bytes(parent.appending(name)), isFolder: false, error: error))
      }
    }
  }

  private static func resolved(_ path: FilePath) throws(MappingError) -> FilePath {
    guard let resolved = unsafe path.withPlatformString({ unsafe pgw_real_path($0) }) else {
      throw .failed(.stat, path)
    }
    defer { unsafe free(resolved) }
    return unsafe FilePath(platformString: resolved)
  }

  private static func bytes(_ path: FilePath) -> [UInt8] {
    unsafe path.withPlatformString { start in
      unsafe UnsafeBufferPointer(start: start, count: strlen(start)).map { UInt8(bitPattern: $0) }
    }
  }

  mutating func contains(_ mapping: ProcessMapping, of folder: ProcessFolder) -> Bool {
    if wanted.isEmpty { return true }
    for place in wanted.indices where mapping.hasPath(wanted[place].path, orBelow: wanted[place].isFolder) {
      wanted[place].wasMet = true
      return true
    }
    return index.holds(mapping, of: folder)
  }

  /// The error of a path that neither stands anywhere nor is mapped.
  var missing: MappingError? { wanted.first { !$0.wasMet && $0.error != nil }?.error }
}

/// The findings of one scan.
private struct HazardLook {
  private var reader = ProcText()
  private var states: [FileKey: MappedFileState?] = [:]
  private var hazards: [Hazard] = []
  private(set) var mappings = 0
  private(set) var unknownFiles = 0
  private lazy var mappingLimit = limitOfMappings()

  private struct FileKey: Hashable {
    /// The root of the process: in a container the same name can stand for something else.
    let root: HeldFileIndex.Node?
    let device: UInt64
    let inode: UInt64
    let name: [UInt8]
    let isDeleted: Bool
  }

  enum Outcome { case seen, nothing, refused }

  var sorted: [Hazard] {
    hazards.sorted {
      (-$0.severity.rawValue, $0.process.id, $0.addresses.first?.lowerBound ?? 0)
        < (-$1.severity.rawValue, $1.process.id, $1.addresses.first?.lowerBound ?? 0)
    }
  }

  mutating func one(_ process: Int32) throws(MappingError) {
    let (folder, failure) = ProcessFolder.readMappings(of: process, &reader)
    if let failure { throw ProcessFolder.error(failure, of: process) }
    var all = WantedPaths()
    take(folder, &all)
  }

  mutating func look(at process: Int32, wanted: inout WantedPaths) -> Outcome {
    let (folder, failure) = ProcessFolder.readMappings(of: process, &reader)
    if let failure {
      if ProcessFolder.isGone(failure) { return .nothing }
      return ProcessFolder.holdsNothing(process, &reader) ? .nothing : .refused
    }
    guard !reader.bytes.isEmpty else { return .nothing }
    take(folder, &wanted)
    return .seen
  }

  /// All of a process whose maps were just read.
  private mutating func take(_ folder: ProcessFolder, _ wanted: inout WantedPaths) {
    let (all, count) = ProcessMapping.withFiles(reader.bytes)
    var groups: [FileKey: [ProcessMapping]] = [:]
    var order: [FileKey] = []
    let root = Self.root(of: folder)
    for mapping in all where mapping.hasPath || mapping.isMemoryFile {
      guard wanted.contains(mapping, of: folder) else { continue }
      mappings += 1
      let key = FileKey(
        root: root, device: mapping.device, inode: mapping.inode, name: mapping.nameBytes, isDeleted: mapping.isDeleted)
      if groups[key, default: []].isEmpty { order.append(key) }
      groups[key, default: []].append(mapping)
    }
    var found: [Finding] = []
    for key in order {
      guard let group = groups[key], let first = group.first else { continue }
      let known: MappedFileState?
      if let cached = states[key] {
        known = cached
      } else {
        known = MappedFileState(of: first, in: folder)
        states[key] = .some(known)
        if known == nil { unknownFiles += 1 }
      }
      if let known {
        found += Finding.all(known, group, in: folder)
      } else if first.isDeleted, !first.isMemoryFile {
        // Its present state is not known; that its name is gone is.
        found.append(Finding.nameless(group, in: folder))
      }
    }
    if wanted.isEmpty {
      if let near = Finding.mappingLimit(count, mappingLimit) { found.append(near) }
      if let near = lockLimit(folder) { found.append(near) }
    }
    guard !found.isEmpty else { return }
    let identity = ProcessIdentity(asking: folder, &reader)
    hazards += found.map { $0.hazard(identity) }
  }

  private static func root(of folder: ProcessFolder) -> HeldFileIndex.Node? {
    var stat = pgw_stat()
    let path = FilePath(folder.path("root"))
    guard unsafe path.withPlatformString({ unsafe pgw_stat_unsynced($0, &stat) }) == 0 else { return nil }
    return HeldFileIndex.Node(device: stat.device, inode: stat.inode)
  }

  private mutating func limitOfMappings() -> Int64? {
    guard reader.read("/proc/sys/vm/max_map_count") == nil else { return nil }
    return ProcText.number(after: "", in: reader.text)
  }

  private mutating func lockLimit(_ folder: ProcessFolder) -> Finding? {
    guard reader.read(folder.path("status")) == nil else { return nil }
    let status = reader.text
    guard let locked = ProcText.number(after: "VmLck:", in: status), locked > 0,
      // With CAP_IPC_LOCK there is no limit.
      !Finding.hasCapability(14, status: status), reader.read(folder.path("limits")) == nil
    else { return nil }
    return Finding.lockLimit(locked.multipliedReportingOverflow(by: 1024).partialValue, limits: reader.text)
  }
}

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

extension FileHolders {
  /// Finds who holds an open file. The given descriptor itself is left out; others of this process are told of.
  ///
  /// - Parameters:
  ///   - descriptor: any descriptor of the file, also one by O_PATH.
  ///   - isCancelled: asked for each process; when true the rest of them count as unknown.
  /// - Throws: `MappingError` when the descriptor cannot be asked, or the processes cannot be listed (`notSupported` where there
  ///   is no /proc).
  /// - Complexity: one pass over /proc: some system calls for each process, one for each of its open descriptors, and O(mappings). Of
  ///   those that hold the file, O(pages that they have mapped) as well. C: /proc/PID/maps, smaps, fd and fdinfo.
  public static func find(
    _ descriptor: FileDescriptor, isCancelled: () -> Bool = { false }
  ) throws(MappingError) -> FileHolders {
    var stat = pgw_stat()
    guard unsafe pgw_fstat(descriptor.rawValue, &stat) == 0 else {
      throw MappingError(.other, operation: .stat, errno: MappingError.currentErrno)
    }
    var index = HeldFileIndex()
    let number = index.add(device: stat.device, inode: stat.inode)
    index.learn(descriptor: descriptor.rawValue, device: stat.device, inode: stat.inode, number: number)
    return try index.search(leavingOut: descriptor.rawValue, isCancelled: isCancelled).files[number]
  }

  /// Finds who holds the file at a path: a regular file, or a device, FIFO or socket, which is not opened. A symbolic link to one is
  /// followed.
  ///
  /// - Throws: as ``find(_:isCancelled:)-(FileDescriptor,_)``, and when there is nothing at `path`.
  public static func find(
    _ path: FilePath, isCancelled: () -> Bool = { false }
  ) throws(MappingError) -> FileHolders {
    let stat = try EntryKind.stat(path, follows: true)
    var index = HeldFileIndex()
    let number = index.add(device: stat.device, inode: stat.inode)
    index.learn(path: path, device: stat.device, inode: stat.inode, mode: stat.mode, number: number)
    return try index.search(isCancelled: isCancelled).files[number]
  }
}

/// The files that are looked for, and how to recognise them: by their numbers in stat, and by those in lists of mappings.
package struct HeldFileIndex {
  package struct Node: Hashable {
    package let device: UInt64
    package let inode: UInt64
  }
  private var nodes: [Node] = []
  private var byStat: [Node: Int] = [:]
  /// In lists of mappings, the number of the file system itself stands for the device. On btrfs, where each subvolume has a
  /// device number of its own in stat, on overlayfs over several file systems, and on bcachefs it is another one.
  private var byMaps: [Node: [Int]] = [:]
  /// Of devices in stat: what lists of mappings have instead, as one file of each has shown.
  private var learned: [UInt64: UInt64] = [:]

  package init() {}

  package var count: Int { nodes.count }
  package func node(_ number: Int) -> Node { nodes[number] }

  /// Adds a file, or finds the one that has these numbers already.
  package mutating func add(device: UInt64, inode: UInt64) -> Int {
    let node = Node(device: device, inode: inode)
    if let known = byStat[node] { return known }
    let number = nodes.count
    nodes.append(node)
    byStat[node] = number
    return number
  }

  /// Finds out what lists of mappings call the file at a path.
  package mutating func learn(path: FilePath, device: UInt64, inode: UInt64, mode: UInt32, number: Int) {
    if let mapped = Self.isMadeUp(device) ? learned[device] : device {
      byMaps[Node(device: mapped, inode: inode), default: []].append(number)
      return
    }
    guard EntryKind(mode: mode) == .regular, let file = try? ObservedFile(path) else {
      byMaps[Node(device: device, inode: inode), default: []].append(number)
      return
    }
    learn(descriptor: file.number, device: device, inode: inode, number: number)
  }

  /// The same of an open file.
  package mutating func learn(descriptor: CInt, device: UInt64, inode: UInt64, number: Int) {
    var key = Node(device: device, inode: inode)
    if Self.isMadeUp(device), let shown = Self.shown(descriptor) {
      key = shown
      // A file system that also changes the inode has to be asked for each file.
      if shown.inode == inode { learned[device] = shown.device }
    }
    byMaps[key, default: []].append(number)
  }

  /// False for the number of a block device, which stat and lists of mappings share. Those with major number 0 are made up.
  package static func isMadeUp(_ device: UInt64) -> Bool {
    #if os(Linux)
      (device >> 8) & 0xFFF == 0 && (device >> 32) & ~0xFFF == 0
    #else
      false
    #endif
  }

  /// Maps a page of the file, without touching it, and looks what this process's own list of mappings calls it.
  private static func shown(_ descriptor: CInt) -> Node? {
    let length = pgw_page_size()
    guard let base = unsafe pgw_map(nil, length, 1, CInt(PGW_MAP_PRIVATE), descriptor, 0) else { return nil }
    defer { _ = unsafe pgw_unmap(base, length) }
    let address = UInt64(UInt(bitPattern: base))
    var reader = ProcText()
    guard reader.read("/proc/thread-self/maps") == nil else { return nil }
    let text = reader.bytes.span
    var lines = TextLines()
    while let line = lines.next(text) {
      guard let parsed = MapsLine(text, line), parsed.start <= address, address < parsed.end else { continue }
      return Node(device: parsed.device, inode: parsed.inode)
    }
    return nil
  }

  // MARK: Searching

  package struct Found {
    /// One for each file of the index.
    package var files: [FileHolders]
    package var processes: ProcessCounts
    package var isInterrupted: Bool
  }

  /// Looks at all processes once.
  package func search(
    leavingOut ownDescriptor: CInt = -1, progress: (Double, String) -> Void = { _, _ in }, isCancelled: () -> Bool
  ) throws(MappingError) -> Found {
    let list = try ProcessList.all()
    let own = Int32(getpid())
    var counts = ProcessCounts()
    counts.areHidden = ProcessList.areHidden(in: list)
    var holders = [[FileHolder]](repeating: [], count: nodes.count)
    var look = ProcessLook()
    var isInterrupted = false
    for (position, process) in list.enumerated() {
      if isCancelled() {
        isInterrupted = true
        counts.unknown += list.count - position
        break
      }
      progress(Double(position) / Double(list.count), "\(position) of \(list.count) processes seen")
      look.begin(process)
      repeat {
        findMappings(&look)
        findDescriptors(&look, leavingOut: process == own ? ownDescriptor : -1)
      } while look.beginsAgain()
      guard !look.isGone, !(look.isRefused && ProcessFolder.holdsNothing(process, &look.reader)) else { continue }
      counts.seen += 1
      if look.isRefused { counts.unknown += 1 }
      for (file, holder) in look.holders() { holders[file].append(holder) }
    }
    let files = nodes.indices.map {
      FileHolders(device: nodes[$0].device, inode: nodes[$0].inode, holders: holders[$0], processes: counts)
    }
    return Found(files: files, processes: counts, isInterrupted: isInterrupted)
  }

  private func findMappings(_ look: inout ProcessLook) {
    if let reason = look.readMappings() {
      look.fail(reason)
      return
    }
    let found = matches(in: look.reader.bytes.span, of: look.folder)
    guard !found.isEmpty else { return }
    // Reading smaps walks the page tables: only of those that hold something.
    var memory: [UInt64: MappingMemory] = [:]
    if look.reader.read(look.folder.path("smaps")) == nil {
      memory = MappingMemory.find(look.reader.bytes, wanted: Set(found.map(\.mapping.addresses.lowerBound)))
    }
    for (number, mapping) in found {
      look.mappings[number, default: []].append(
        FileHolder.Mapping(mapping: mapping, memory: memory[mapping.addresses.lowerBound]))
    }
  }

  private func matches(in text: Span<UInt8>, of folder: ProcessFolder) -> [(number: Int, mapping: ProcessMapping)] {
    var lines = TextLines()
    var found: [(number: Int, mapping: ProcessMapping)] = []
    while let line = lines.next(text) {
      guard let parsed = MapsLine(text, line), parsed.inode != 0,
        let candidates = byMaps[Node(device: parsed.device, inode: parsed.inode)]
      else { continue }
      let mapping = parsed.mapping(text)
      for number in candidates {
        let isOnlyOne = candidates.count == 1 && nodes[number].device == parsed.device
        if isOnlyOne || confirms(nodes[number], mapping, of: folder) { found.append((number, mapping)) }
      }
    }
    return found
  }

  /// True when a mapping shows one of the files.
  package func holds(_ mapping: ProcessMapping, of folder: ProcessFolder) -> Bool {
    guard let candidates = byMaps[Node(device: mapping.device, inode: mapping.inode)] else { return false }
    return candidates.contains {
      candidates.count == 1 && nodes[$0].device == mapping.device || confirms(nodes[$0], mapping, of: folder)
    }
  }

  /// Where the number in the list is that of several files: stat on what is mapped, or at its path, has the last word. Where neither
  /// can be asked, the number stands.
  private func confirms(_ node: Node, _ mapping: ProcessMapping, of folder: ProcessFolder) -> Bool {
    var stat = pgw_stat()
    for place in [mapping.place(in: folder), mapping.path.map { MappedFileState.place($0, in: folder) }] {
      guard let place, unsafe place.withPlatformString({ unsafe pgw_stat_unsynced($0, &stat) }) == 0 else { continue }
      return Node(device: stat.device, inode: stat.inode) == node
    }
    return true
  }

  private func findDescriptors(_ look: inout ProcessLook, leavingOut skipped: CInt) {
    guard !look.isGone else { return }
    let path = look.folder.path("fd")
    guard let list = unsafe path.withCString({ unsafe pgw_descriptors_open($0) }) else {
      look.fail(MappingError.currentErrno)
      return
    }
    defer { unsafe pgw_descriptors_close(list) }
    var number: CInt = 0
    var device: UInt64 = 0
    var inode: UInt64 = 0
    while unsafe pgw_descriptors_next(list, &number, &device, &inode) {
      guard number != skipped, let file = byStat[Node(device: device, inode: inode)] else { continue }
      look.descriptors[file, default: []].append(look.descriptor(number))
    }
  }
}

/// One process being looked at.
private struct ProcessLook {
  var reader = ProcText()
  private(set) var folder = ProcessFolder(0)
  private(set) var isGone = false
  private(set) var isRefused = false
  var mappings: [Int: [FileHolder.Mapping]] = [:]
  var descriptors: [Int: [FileHolder.Descriptor]] = [:]

  private var hasMappings = false
  private var attempts = 0
  private static let mostAttempts = 32

  mutating func begin(_ process: Int32) {
    folder = ProcessFolder(process)
    isGone = false
    isRefused = false
    hasMappings = false
    attempts = 1
    mappings.removeAll(keepingCapacity: true)
    descriptors.removeAll(keepingCapacity: true)
  }

  /// Reads the list of mappings into ``reader``.
  mutating func readMappings() -> Errno? {
    let (folder, failure) = ProcessFolder.readMappings(of: folder.process, &reader)
    self.folder = folder
    hasMappings = failure == nil && !reader.bytes.isEmpty
    return failure
  }

  /// True when the thread by which the process was looked at ended before all was read: another one can still show the rest.
  mutating func beginsAgain() -> Bool {
    guard hasMappings, folder.hasEnded(&reader) else { return false }
    guard attempts < Self.mostAttempts else {
      // A main thread that is ending and still has its mappings has all its descriptors as well: it gives them up later.
      if folder != ProcessFolder(folder.process) {
        isGone = false
        isRefused = true
      }
      return false
    }
    let next = attempts + 1
    begin(folder.process)
    attempts = next
    return true
  }

  /// To have ended meanwhile is normal; anything else is not to know.
  mutating func fail(_ reason: Errno) {
    if ProcessFolder.isGone(reason) { isGone = true } else { isRefused = true }
  }

  /// From lines `pos:\t0` and `flags:\t0100002`, octal.
  mutating func descriptor(_ number: CInt) -> FileHolder.Descriptor {
    guard reader.read(folder.path("fdinfo/\(number)")) == nil else {
      return FileHolder.Descriptor(number: number, access: nil, position: nil)
    }
    let text = reader.text
    var access: FileHolder.Access? = nil
    for line in text.split(separator: "\n") where line.hasPrefix("flags:") {
      guard let flags = UInt32(line.dropFirst(6).drop { $0 == "\t" || $0 == " " }, radix: 8) else { break }
      let path: UInt32 = 0o10000000
      access =
        flags & path != 0 ? .path : flags & 3 == 0 ? .read : flags & 3 == 1 ? .write : .readWrite
      break
    }
    return FileHolder.Descriptor(number: number, access: access, position: ProcText.number(after: "pos:", in: text))
  }

  mutating func holders() -> [(file: Int, holder: FileHolder)] {
    guard !mappings.isEmpty || !descriptors.isEmpty else { return [] }
    let identity = ProcessIdentity(asking: folder, &reader)
    return Set(mappings.keys).union(descriptors.keys).map { file in
      (
        file,
        FileHolder(
          process: identity, mappings: mappings[file] ?? [],
          descriptors: (descriptors[file] ?? []).sorted { $0.number < $1.number })
      )
    }
  }
}

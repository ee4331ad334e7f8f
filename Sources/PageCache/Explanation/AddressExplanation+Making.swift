// SPDX-License-Identifier: Apache-2.0

internal import CPlatform
public import MemoryMapping
public import SystemPackage

extension AddressExplanation {
  /// Explains an address of a process that runs.
  ///
  /// - Parameters:
  ///   - address: any number.
  ///   - process: its number.
  /// - Throws: `MappingError`: `notFound` when there is no such process, `permissionDenied` when it may not be looked at.
  /// - Complexity: O(mappings of the process). C: /proc/PID/maps, map_files.
  public init(_ address: UInt64, inProcess process: Int32) throws(MappingError) {
    var reader = ProcText()
    let (folder, failure) = ProcessFolder.readMappings(of: process, &reader)
    if let failure { throw ProcessFolder.error(failure, of: process) }
    let mappings = ProcessMapping.all(reader.bytes)
    let identity = ProcessIdentity(asking: folder, &reader)
    self.init(address, mappings, .process(identity)) { mapping, range in
      guard let state = MappedFileState(of: mapping, in: folder), state.isRegular else { return nil }
      return FileCondition(
        state, naming: state.naming, isMappedFileItself: true, missing: state.unbacked(range, mapping, in: folder))
    }
  }

  /// Explains an address of a process that left a core.
  ///
  /// - Parameters:
  ///   - address: nil for the one whose access ended the process.
  ///   - core: an ELF core as Linux writes it: little endian, of any machine.
  /// - Throws: `MappingError`: `unknownFormat` when the file is no core or damaged; `wrongState` when there is no address: the
  ///   process was ended by a signal that has none.
  public init(_ address: UInt64? = nil, inCore core: FilePath) throws(MappingError) {
    let file = try CoreFile(core)
    guard let address = address ?? file.signal?.address else {
      let signal = file.signal.map { "it was ended by \($0.name), which has none" } ?? "it does not say what ended it"
      throw MappingError(
        .wrongState, operation: .init("find the address of the fault in"), path: core,
        detail: .note("\(signal); give an ADDRESS"))
    }
    self.init(
      address, file.mappings, .core(core, process: file.process, name: file.name), signal: file.signal,
      stackPointer: file.stackPointer, pageSize: file.pageSize, file: Self.fileNow)
  }

  /// Explains an address by a saved text of /proc/PID/maps or smaps.
  ///
  /// - Throws: `MappingError`: `unknownFormat` with the number of the first line that is none of such a text.
  public init(_ address: UInt64, inMaps text: [UInt8]) throws(MappingError) {
    self.init(address, try SavedMaps.parse(text), .savedMaps, file: Self.fileNow)
  }

  /// Explains an address by a saved text that an open file has from where it stands, such as standard input.
  ///
  /// - Throws: as ``init(_:inMaps:)-(_,[UInt8])``, and what reading says.
  public init(_ address: UInt64, inMaps descriptor: FileDescriptor) throws(MappingError) {
    var reader = ProcText()
    if let reason = reader.read(descriptor.rawValue, limit: SavedMaps.limit) {
      let isLong = reason == .fileTooLarge
      throw MappingError(
        isLong ? .limitExceeded : reason == .isDirectory ? .isDirectory : .other, operation: .init("read the mappings"),
        errno: reason,
        detail: isLong
          ? .advice("limit \(SavedMaps.limit)", remedy: "Give the text of a /proc/PID/maps.") : nil)
    }
    try self.init(address, inMaps: reader.bytes)
  }

  /// The file that stands at the path of a mapping now. Files of memory are gone with their process.
  private static func fileNow(_ mapping: ProcessMapping, _ range: Range<Int64>) -> FileCondition? {
    guard let path = mapping.path else { return nil }
    do throws(MappingError) {
      _ = try EntryKind.stat(path, follows: true)
    } catch {
      guard error.code == .notFound else { return nil }
      return FileCondition(
        size: nil, naming: .deleted, isMappedFileItself: false, fileSystem: nil, isHole: nil, freeBytes: nil)
    }
    guard let state = MappedFileState(at: path) else { return nil }
    guard state.isRegular else { return nil }
    // A core has names only.
    let isOther = mapping.inode != 0 ? mapping.inode != state.inode : mapping.isDeleted
    return FileCondition(state, naming: isOther ? .replaced : .present, isMappedFileItself: false, missing: nil)
  }

  /// - Parameter file: what the file of a mapping is like; gets the bytes of the page as well.
  package init(
    _ address: UInt64, _ mappings: [ProcessMapping], _ source: Source, signal: FaultSignal? = nil,
    stackPointer: UInt64? = nil, pageSize: UInt64 = UInt64(SystemPage.size),
    file condition: (ProcessMapping, Range<Int64>) -> FileCondition?
  ) {
    self.address = address
    self.source = source
    self.signal = signal
    let mapping = mappings.first { $0.addresses.contains(address) }
    self.mapping = mapping
    let below = mappings.filter { $0.addresses.upperBound <= address }.max {
      $0.addresses.upperBound < $1.addresses.upperBound
    }
    let above = mappings.filter { $0.addresses.lowerBound > address }.min {
      $0.addresses.lowerBound < $1.addresses.lowerBound
    }
    self.below = mapping == nil ? below : nil
    self.above = mapping == nil ? above : nil
    let hasFile = mapping.map { $0.path != nil || $0.isMemoryFile } ?? false
    let offset = hasFile ? mapping?.fileOffset(of: address) : nil
    fileOffset = offset
    let page = max(1, pageSize)
    filePage = offset.map { $0 / page }
    var found: FileCondition? = nil
    if let mapping, let offset {
      let start = Int64(clamping: offset / page * page)
      found = condition(mapping, start..<start.addingClamped(Int64(clamping: page)))
    }
    file = found
    // The signal is about its own address, and about no other.
    let own = signal.flatMap { fault in fault.address.map { $0 / page == address / page } == true ? fault : nil }
    let scene = Scene(
      address: address, mapping: mapping, below: below, above: above, offset: offset, file: found, signal: own,
      stackPointer: stackPointer, page: page)
    place = scene.place
    (cause, remedy) = scene.explained
  }
}

extension AddressExplanation.FileCondition {
  fileprivate init(
    _ state: MappedFileState, naming: MappedFileState.Naming, isMappedFileItself: Bool, missing: Int64?
  ) {
    size = state.size
    self.naming =
      switch naming {
      case .present: .present
      case .deleted: .deleted
      case .replaced: .replaced
      case .unknown: .unknown
      }
    self.isMappedFileItself = isMappedFileItself
    fileSystem = state.fileSystem?.name
    isHole = missing.map { $0 > 0 }
    freeBytes = state.free
  }
}

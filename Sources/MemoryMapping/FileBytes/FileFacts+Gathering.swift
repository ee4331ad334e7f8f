// SPDX-License-Identifier: Apache-2.0

internal import CPlatform
public import SystemPackage

extension FileFacts {
  /// Asks everything about an open file, for reports. About 50 µs and up to 2 MiB of address space.
  ///
  /// ``FileBytes`` itself asks only what can change its choice.
  ///
  /// - Throws: ``MappingError`` when the descriptor cannot be asked at all.
  public init(asking descriptor: FileDescriptor) throws(MappingError) {
    var stat = pgw_stat()
    guard unsafe pgw_fstat(descriptor.rawValue, &stat) == 0 else { throw .last(.stat) }
    self.init(stat, descriptor: descriptor.rawValue)
    allocated = stat.allocated
    askFileSystem(descriptor.rawValue)
    memoryRoom = MemoryRoom.bytes
    addressSpaceRoom = MemoryRoom.addressSpace
    guard type == .regular || type == .blockDevice, size > 0 else {
      if type == .regular { hasContentWithoutSize = OpenedFile.hasContent(descriptor.rawValue) }
      return
    }
    readAhead = MemoryRoom.readAhead(device: stat.device)
    askResidency(descriptor.rawValue)
    if fileSystem?.prefersReading != true { pagesPerFault = Self.samplePagesPerFault(descriptor.rawValue, size: size) }
  }

  /// Asks what a pass over an open file goes by: its file system, memory and read-ahead. Loads no page of it. About 50 µs.
  package init(loadingNothing descriptor: FileDescriptor) throws(MappingError) {
    var stat = pgw_stat()
    guard unsafe pgw_fstat(descriptor.rawValue, &stat) == 0 else { throw .last(.stat) }
    self.init(stat, descriptor: descriptor.rawValue)
    askFileSystem(descriptor.rawValue)
    memoryRoom = MemoryRoom.bytes
    readAhead = MemoryRoom.readAhead(device: stat.device)
  }

  internal init(_ stat: pgw_stat, descriptor: CInt) {
    let type: FileType =
      switch OpenedFile.kind(of: stat.mode) {
      case .regular: .regular
      case .directory: .directory
      case .pipe: .pipe
      case .socket: .socket
      case .characterDevice: .characterDevice
      case .blockDevice: .blockDevice
      case .symbolicLink, .other: .other
      }
    self.init(type: type, size: type == .blockDevice ? pgw_block_device_size(descriptor) : stat.size)
  }

  internal mutating func askFileSystem(_ descriptor: CInt) {
    if let found = FileSystemKind(of: descriptor) { fileSystem = found }
  }

  /// A file system without a device of its own: /proc, network, FUSE, but also tmpfs, overlay and btrfs. What has a real
  /// block device number needs no statfs to be known as local.
  internal static func mayBeSpecial(device: UInt64) -> Bool {
    #if os(Linux)
      // The encoding of makedev(3): the major number is bits 8 to 19 and 44 to 63.
      (device >> 8) & 0xFFF == 0 && (device >> 32) & ~0xFFF == 0
    #else
      true
    #endif
  }

  /// How much of the file is in the page cache, from single pages spread over it: 0.2 µs each.
  internal mutating func askResidency(_ descriptor: CInt) {
    let page = Int64(SystemPage.size)
    let probes = min(size / page + 1, size < 16 << 20 ? 4 : size < 256 << 20 ? 8 : 16)
    var present: Int64 = 0
    for index in 0..<probes {
      var state = pgw_cache_state()
      // The middle of each of the equal parts.
      let offset = size / probes * index + size / probes / 2 & ~(page - 1)
      guard unsafe pgw_cachestat(descriptor, UInt64(offset), UInt64(page), &state) == 0 else {
        if Errno.current == .notPermitted { isResidencyPermitted = false }
        return
      }
      if state.cached > 0 { present += 1 }
    }
    residentFraction = Double(present) / Double(probes)
  }

  /// Maps a window in the middle of the file, touches one page and counts what the kernel mapped around it. Nil when the page
  /// is not in memory: to fetch it would cost more than the answer is worth.
  internal static func samplePagesPerFault(_ descriptor: CInt, size: Int64, middle: Int64? = nil) -> Int? {
    let middle = max(0, min(middle ?? size / 2, size - 1))
    let half = min(2 << 20, middle, size - middle)
    let start = (middle - half) & ~Int64(SystemPage.size - 1)
    let length = Int(min(half * 2 + Int64(SystemPage.size), size - start))
    guard length > 0 else { return nil }
    // A page that is not in memory, or that nobody tells about, is not loaded to be looked at.
    var state = pgw_cache_state()
    let page = UInt64(middle) & ~UInt64(SystemPage.size - 1)
    if unsafe pgw_cachestat(descriptor, page, 1, &state) != 0 {
      guard Errno.current != .notPermitted, pgw_may_write(descriptor) else { return nil }
    } else if state.cached == 0 {
      return nil
    }
    var options = MappedFile.Options()
    options.keepsDescriptor = true
    guard
      let map = try? MappedFile(
        descriptor: FileDescriptor(rawValue: descriptor), offset: start, length: length, options: options)
    else { return nil }
    return samplePagesPerFault(map)
  }

  /// How many pages one fault maps, from a sample around an offset of a file. Nil where that is not in memory.
  package static func pagesPerFault(of descriptor: FileDescriptor, size: Int64, around offset: Int64) -> Int? {
    samplePagesPerFault(descriptor.rawValue, size: size, middle: offset)
  }

  /// The same on a mapping that exists. Its middle page stays mapped, so the work is not lost.
  internal static func samplePagesPerFault(_ map: borrowing MappedFile) -> Int? {
    let page = SystemPage.size
    let reach = 2 << 20
    let middle = map.count / 2 & ~(page - 1)
    // Whole pages around the middle, inside the mapping.
    let lower = max(0, middle - reach)
    let upper = min(middle + reach, map.count)
    guard let resident = try? map.residency(middle..<min(middle + page, map.count)), resident.resident ?? 1 > 0 else {
      return nil
    }
    var byte: UInt8 = 0
    guard
      (try? unsafe withUnsafeMutableBytes(
        of: &byte, { try unsafe map.copy(middle..<middle + 1, into: $0, check: .pages) }))
        != nil
    else { return nil }
    let found = unsafe pgw_mapped_pages(map.viewStart + lower, upper - lower)
    return found > 0 ? Int(found) : nil
  }

  /// What a fault on this file does: about how many pages it maps, and the seconds that takes.
  internal struct FaultSample {
    internal var pages: Int
    internal var seconds: Double
  }

  /// Samples the faults of a mapping that is going to be used: touches a page where a large folio would begin, then pages
  /// further and further up, until one of them faults, and two more for the time. Some microseconds, and the pages stay
  /// mapped. For files that are in memory. Nil when the place was mapped already or cannot be had.
  internal static func sampleFaults(_ map: borrowing MappedFile) -> FaultSample? {
    let page = SystemPage.size
    let total = map.count / page
    var block = 512
    while block > 1, block * 2 > total { block /= 2 }
    guard total > 0 else { return nil }
    // What the kernel maps around a fault is aligned by address, and a mapping that can have huge pages by file offset, too.
    let number = Int(bitPattern: unsafe map.viewStart) / page
    let first = ((number + total / 2) & ~(block - 1)) - number
    guard first >= 0 else { return nil }

    var count = pgw_fault_count()
    // The fastest counts: the first fault may also make a page table, and any may be interrupted.
    var fastest = UInt64.max
    /// Whether the page had to be mapped; nil when it cannot be had.
    func faults(at index: Int) -> Bool? {
      let before = count
      var byte: UInt8 = 0
      let at = index * page
      let start = pgw_now_ns()
      let copied: Void? = try? unsafe withUnsafeMutableBytes(of: &byte) {
        try unsafe map.copy(at..<at + 1, into: $0, check: .pages)
      }
      let end = pgw_now_ns()
      count = pgw_fault_count()
      guard copied != nil else { return nil }
      if count > before { fastest = min(fastest, end - start) }
      return count > before
    }

    guard faults(at: first) == true else { return nil }
    var known = 1
    // What the kernel maps around a fault in small pages is 16; above it are folios.
    for reach in [16, 64, 256, 512] where reach <= block {
      guard faults(at: first + reach - 1) == false else { break }
      known = reach
    }
    if known == 1, block >= 4, faults(at: first + 3) == false { known = 4 }
    for step in [2, 3] where first + step * known < total { _ = faults(at: first + step * known) }
    return FaultSample(pages: known, seconds: Double(fastest) * 1e-9)
  }
}

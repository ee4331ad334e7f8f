// SPDX-License-Identifier: Apache-2.0

internal import CPlatform
package import MemoryMapping
package import SystemPackage

/// What an ELF core tells of a process's mappings and of its end.
///
/// The parts that are read, all numbers little endian, in words of 8 bytes (class 2) or 4 (class 1):
///
///     ELF header       magic, class, byte order, type 4 (core), machine; where the program headers are, and how many. 0xFFFF of
///                      them says that the number is in `sh_info` of the first section header.
///     PT_LOAD          one for each mapping: address, size, permissions. Content is not read.
///     PT_NOTE          notes: name size, content size, type; name and content, each padded to 4 bytes
///       NT_PRSTATUS    the first one is that of the thread that failed: signal, process, registers
///       NT_PRPSINFO    the name of the process
///       NT_SIGINFO     signal, code, address
///       NT_FILE        number of entries, page size, then for each mapping of a file start, end and offset in pages; then the
///                      paths, each ended by a NUL
///
/// Nothing of it is trusted: each offset is checked against the file, each sum for overflow, and sizes have limits.
package struct CoreFile: Sendable, Hashable {
  /// By address.
  package private(set) var mappings: [ProcessMapping] = []
  package private(set) var signal: FaultSignal? = nil
  package private(set) var process: Int32? = nil
  package private(set) var name: String? = nil
  /// Of the thread that failed; nil for machines whose registers we do not know.
  package private(set) var stackPointer: UInt64? = nil
  package private(set) var pageSize: UInt64 = 4096

  /// Most notes that are read, bytes; the kernel itself writes some MB at most.
  package static let mostNotes: UInt64 = 64 << 20
  /// Most program headers that are read.
  package static let mostHeaders: UInt64 = 1 << 22

  /// Reads a core.
  ///
  /// - Throws: `unknownFormat` with what is wrong, and what opening and reading say.
  package init(_ path: FilePath) throws(MappingError) {
    let kind = EntryKind(mode: try EntryKind.stat(path, follows: true).mode)
    guard kind == .regular else {
      throw MappingError(
        .unsupportedFileType, operation: .init("read the core"), path: path,
        detail: .advice("it is \(kind.words)", remedy: "Give a core that a process has left."))
    }
    let file = try ObservedFile(path)
    let size = UInt64(max(0, try file.stat(path).size))
    let number = file.number
    defer { withExtendedLifetime(file) {} }
    do throws(MappingError) {
      self = try CoreFile(size: size) { offset, count in
        guard offset <= UInt64(Int64.max) else { return nil }
        var bytes = [UInt8](repeating: 0, count: count)
        var done = 0
        while done < count {
          let got = unsafe bytes.withUnsafeMutableBytes { buffer in
            unsafe pgw_pread(number, buffer.baseAddress! + done, count - done, Int64(offset) + Int64(done))
          }
          if got <= 0 { return nil }
          done += got
        }
        return bytes
      }
    } catch {
      var error = error
      error.path = path
      throw error
    }
  }

  /// Reads a core that is in memory.
  package init(_ bytes: [UInt8]) throws(MappingError) {
    try self.init(size: UInt64(bytes.count)) { offset, count in
      let start = Int(offset)
      return Array(bytes[start..<start + count])
    }
  }

  /// - Parameter read: exactly so many bytes, of which all lie before `size`; nil when they cannot be read.
  private init(size: UInt64, read: @escaping (UInt64, Int) -> [UInt8]?) throws(MappingError) {
    let source = Source(size: size, read: read)
    let head = try source.bytes(0, 64, "its header")
    guard head.starts(with: [0x7F, 0x45, 0x4C, 0x46]) else { throw Self.wrong("it does not begin as an ELF file", 0) }
    let is64 = head[4] == 2
    guard is64 || head[4] == 1 else { throw Self.wrong("its class is neither 32 nor 64 bits", 4) }
    guard head[5] == 1 else { throw Self.wrong("it is big endian, which is not read here", 5) }
    let fields = Fields(bytes: head, is64: is64)
    guard fields.half(16) == 4 else { throw Self.wrong("it is an ELF file, but no core", 16) }
    let machine = fields.half(18)
    let headers = fields.word(is64 ? 32 : 28)
    let entry = UInt64(fields.half(is64 ? 54 : 42))
    var count = UInt64(fields.half(is64 ? 56 : 44))
    if count == 0xFFFF {
      let section = try source.bytes(fields.word(is64 ? 40 : 32), is64 ? 64 : 40, "its first section header")
      count = UInt64(Fields(bytes: section, is64: is64).four(is64 ? 44 : 28))
    }
    guard entry >= (is64 ? 56 : 32) else { throw Self.wrong("its program headers are too short", is64 ? 54 : 42) }
    guard count > 0 else { throw Self.wrong("it has no program headers", is64 ? 56 : 44) }
    guard count <= Self.mostHeaders else { throw Self.wrong("it has \(count) program headers", is64 ? 56 : 44) }

    var loads: [(range: Range<UInt64>, permissions: ProcessMapping.Permissions)] = []
    var notes: [(offset: UInt64, size: UInt64)] = []
    var index: UInt64 = 0
    while index < count {
      // Some at a time: one read each would be slow, and all of them need not fit into memory.
      let some = min(count - index, 1024)
      let start = headers.addingReportingOverflow(index * entry)
      guard !start.overflow else { throw Self.wrong("its program headers lie past the end", headers) }
      let table = try source.bytes(start.partialValue, some * entry, "its program headers")
      for position in 0..<Int(some) {
        let first = position * Int(entry)
        let header = Fields(bytes: Array(table[first..<first + (is64 ? 56 : 32)]), is64: is64)
        switch header.four(0) {
        case 1:
          let lower = header.word(is64 ? 16 : 8)
          let (upper, overflow) = lower.addingReportingOverflow(header.word(is64 ? 40 : 20))
          guard !overflow else { throw Self.wrong("a mapping ends past all addresses", start.partialValue) }
          if upper > lower { loads.append((lower..<upper, Self.permissions(header.four(is64 ? 4 : 24)))) }
        case 4: notes.append((header.word(is64 ? 8 : 4), header.word(is64 ? 32 : 16)))
        default: break
        }
      }
      index += some
    }
    guard !notes.isEmpty else { throw Self.wrong("it has no notes", headers) }
    var files: [UInt64: (range: Range<UInt64>, offset: UInt64, name: [UInt8])] = [:]
    var budget = Self.mostNotes
    for note in notes {
      guard note.size <= budget else { throw Self.wrong("its notes have \(note.size) bytes", note.offset) }
      budget -= note.size
      let bytes = try source.bytes(note.offset, note.size, "its notes")
      try take(notes: Fields(bytes: bytes, is64: is64), at: note.offset, machine: machine, files: &files)
    }
    for (range, permissions) in loads {
      // Only the first of two that begin alike.
      let file = files.removeValue(forKey: range.lowerBound)
      mappings.append(
        ProcessMapping(
          addresses: range, permissions: permissions, isShared: nil, offset: file?.offset ?? 0, name: file?.name ?? []))
    }
    // Without a header of its own: nothing is known of the permissions.
    for file in files.values {
      mappings.append(
        ProcessMapping(addresses: file.range, permissions: [], isShared: nil, offset: file.offset, name: file.name))
    }
    mappings.sort { $0.addresses.lowerBound < $1.addresses.lowerBound }
  }

  private static func permissions(_ flags: UInt32) -> ProcessMapping.Permissions {
    var all: ProcessMapping.Permissions = []
    if flags & 4 != 0 { all.insert(.read) }
    if flags & 2 != 0 { all.insert(.write) }
    if flags & 1 != 0 { all.insert(.execute) }
    return all
  }

  private mutating func take(
    notes: Fields, at place: UInt64, machine: UInt16,
    files: inout [UInt64: (range: Range<UInt64>, offset: UInt64, name: [UInt8])]
  ) throws(MappingError) {
    var at = 0
    let all = notes.bytes
    while all.count - at >= 12 {
      let nameSize = Int(notes.four(at))
      let size = Int(notes.four(at + 4))
      let type = notes.four(at + 8)
      let content = at + 12 + (nameSize + 3) & ~3
      let begin = place + UInt64(at)
      guard content <= all.count, size <= all.count - content else {
        throw Self.wrong("a note is longer than its notes", begin)
      }
      let name = all[at + 12..<at + 12 + nameSize]
      at = min(all.count, content + (size + 3) & ~3)
      guard name.starts(with: Array("CORE".utf8)) else { continue }
      let fields = Fields(bytes: Array(all[content..<content + size]), is64: notes.is64)
      switch type {
      case 1: take(status: fields, machine)
      case 3: take(info: fields)
      case 0x5349_4749: take(signal: fields)
      case 0x4649_4C45: try take(files: fields, at: begin, &files)
      default: break
      }
    }
  }

  /// NT_PRSTATUS: `pr_cursig` at 12, the process at 32 (24), the registers at 112 (72).
  private mutating func take(status: Fields, _ machine: UInt16) {
    // Of other threads.
    guard process == nil, status.has(status.is64 ? 112 : 72) else { return }
    process = Int32(bitPattern: status.four(status.is64 ? 32 : 24))
    if signal == nil {
      signal = FaultSignal(number: Int32(status.half(12)), code: 0, address: nil)
    }
    // x86-64: the twentieth register; arm64 and RISC-V: after x0 to x30, the third; i386: the sixteenth.
    let index: Int? =
      switch machine {
      case 62: 19
      case 183: 31
      case 243: 2
      case 3: 15
      default: nil
      }
    guard let index else { return }
    let place = (status.is64 ? 112 : 72) + index * status.wordSize
    if status.has(place + status.wordSize) { stackPointer = status.word(place) }
  }

  /// NT_PRPSINFO: the name at 40 (28), 16 bytes.
  private mutating func take(info: Fields) {
    let place = info.is64 ? 40 : 28
    guard info.has(place + 16) else { return }
    name = String(decoding: info.bytes[place..<place + 16].prefix { $0 != 0 }, as: UTF8.self)
  }

  /// NT_SIGINFO: number at 0, code at 8, address at 16 (12).
  private mutating func take(signal: Fields) {
    let place = signal.is64 ? 16 : 12
    guard signal.has(place + signal.wordSize) else { return }
    self.signal = FaultSignal(
      number: Int32(bitPattern: signal.four(0)), code: Int32(bitPattern: signal.four(8)), address: signal.word(place))
  }

  private mutating func take(
    files: Fields, at place: UInt64, _ found: inout [UInt64: (range: Range<UInt64>, offset: UInt64, name: [UInt8])]
  ) throws(MappingError) {
    let word = files.wordSize
    guard files.has(2 * word) else { throw Self.wrong("the list of mapped files is too short", place) }
    let count = files.word(0)
    let size = files.word(word)
    guard size > 0, size & (size - 1) == 0, size <= 1 << 30 else {
      throw Self.wrong("it has pages of \(size) bytes", place)
    }
    pageSize = size
    guard count <= UInt64((files.bytes.count - 2 * word) / (3 * word)) else {
      throw Self.wrong("the list of mapped files has \(count) entries and no room for them", place)
    }
    var names = (2 + 3 * Int(count)) * word
    for index in 0..<Int(count) {
      let entry = (2 + 3 * index) * word
      let lower = files.word(entry)
      let upper = files.word(entry + word)
      let (offset, overflow) = files.word(entry + 2 * word).multipliedReportingOverflow(by: size)
      guard lower < upper, !overflow else {
        throw Self.wrong("a mapped file ends before it begins, or past all offsets", place)
      }
      guard let end = files.bytes[names...].firstIndex(of: 0) else {
        throw Self.wrong("the name of a mapped file has no end", place)
      }
      found[lower] = (lower..<upper, offset, Array(files.bytes[names..<end]))
      names = end + 1
    }
  }

  fileprivate static func wrong(_ what: String, _ offset: UInt64) -> MappingError {
    MappingError(
      .unknownFormat, operation: .init("read the core"), offset: Int64(clamping: offset), detail: .note(what))
  }

  /// Bytes of the file, with each access checked.
  fileprivate struct Source {
    let size: UInt64
    let read: (UInt64, Int) -> [UInt8]?

    func bytes(_ offset: UInt64, _ count: UInt64, _ what: String) throws(MappingError) -> [UInt8] {
      let (end, overflow) = offset.addingReportingOverflow(count)
      guard !overflow, end <= size else {
        throw CoreFile.wrong("the file ends before \(what): a limit (ulimit -c) or a full disk may have cut it", offset)
      }
      guard count > 0 else { return [] }
      guard let found = read(offset, Int(count)) else { throw CoreFile.wrong("\(what) cannot be read", offset) }
      return found
    }
  }

  /// Numbers in bytes. Whoever asks has checked that they are there.
  private struct Fields {
    let bytes: [UInt8]
    let is64: Bool

    var wordSize: Int { is64 ? 8 : 4 }
    func has(_ end: Int) -> Bool { end <= bytes.count }
    func half(_ at: Int) -> UInt16 { UInt16(bytes[at]) | UInt16(bytes[at + 1]) << 8 }
    func four(_ at: Int) -> UInt32 { UInt32(half(at)) | UInt32(half(at + 2)) << 16 }
    func word(_ at: Int) -> UInt64 { is64 ? UInt64(four(at)) | UInt64(four(at + 4)) << 32 : UInt64(four(at)) }
  }
}

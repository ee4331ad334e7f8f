// SPDX-License-Identifier: Apache-2.0

internal import CPlatform
internal import SystemPackage

extension MappedFile {
  /// The file's size if its kind can be mapped at all.
  internal static func mappableSize(of file: borrowing OpenedFile, path: FilePath?) throws(MappingError) -> Int64 {
    switch file.kind {
    case .regular:
      if file.stat.size == 0, OpenedFile.hasContent(file.descriptor) {
        throw MappingError(
          .unsupportedFileType, operation: .map, path: path,
          detail: .note("a file of a virtual file system: it has content but no size"))
      }
      return file.stat.size
    case .blockDevice:
      let size = pgw_block_device_size(file.descriptor)
      guard size >= 0 else { throw .last(.stat, path: path) }
      return size
    case .directory: throw MappingError(.isDirectory, operation: .map, path: path)
    case .pipe:
      throw MappingError(.unsupportedFileType, operation: .map, path: path, detail: .note("a pipe or FIFO"))
    case .socket: throw MappingError(.unsupportedFileType, operation: .map, path: path, detail: .note("a socket"))
    case .characterDevice:
      throw MappingError(
        .unsupportedFileType, operation: .map, path: path, detail: .note("a character device"))
    case .symbolicLink: throw MappingError(.symbolicLink, operation: .map, path: path)
    case .other: throw MappingError(.unsupportedFileType, operation: .map, path: path)
    }
  }

  internal static func viewCount(
    size: Int64, offset: Int64, length: Int?, path: FilePath?
  ) throws(MappingError) -> Int {
    let rest = size - max(offset, 0)
    guard offset >= 0, rest >= 0, length ?? 0 >= 0, Int64(length ?? 0) <= rest else {
      throw MappingError(
        .invalidRange, operation: .map, path: path, offset: offset, length: length.map(Int64.init),
        detail: .fileSize(size))
    }
    if let length { return length }
    guard let count = Int(exactly: rest) else {
      throw MappingError(.addressSpaceExhausted, operation: .map, path: path, offset: offset, length: rest)
    }
    return count
  }

  /// The unit in which the kernel maps this file: its huge page on hugetlbfs, where unmapping anything else fails.
  internal static func pageSize(of file: borrowing OpenedFile) -> Int {
    guard file.stat.block_size > SystemPage.size else { return SystemPage.size }
    // Large block sizes are common elsewhere too; only hugetlbfs means its page by it.
    var system = pgw_filesystem()
    let hugetlbfs: UInt64 = 0x9584_58f6
    guard unsafe pgw_fstatfs(file.descriptor, &system) == 0, system.type == hugetlbfs,
      let unit = Int(exactly: file.stat.block_size), unit & (unit - 1) == 0
    else { return SystemPage.size }
    return unit
  }

  /// Maps `count` bytes at `offset` and applies the options. The file's descriptor ends in the range, or is closed.
  internal static func map(
    _ file: consuming OpenedFile, offset: Int64, count: Int, pageSize: Int, options: Options, path: FilePath?,
    protection: CInt = 1
  ) throws(MappingError) -> MappedRange {
    guard count > 0 else { return MappedRange(emptyWith: options.keepsDescriptor ? file.take() : -1) }
    guard let span = PageMath(pageSize: pageSize).span(offset: offset, length: count) else {
      throw MappingError(.invalidRange, operation: .map, path: path, offset: offset, length: Int64(count))
    }
    var flags = options.sharing == .shared ? PGW_MAP_SHARED : PGW_MAP_PRIVATE
    if options.populate { flags |= PGW_MAP_POPULATE }
    if options.noReserve { flags |= PGW_MAP_NORESERVE }

    let base = unsafe try place(
      file.descriptor, span: span, flags: CInt(flags), protection: protection,
      alignment: pageSize > SystemPage.size ? nil : options.alignment, path: path)
    // A lease ends with its last descriptor.
    let keepsDescriptor = options.keepsDescriptor || options.stability == .lease
    let range = unsafe try MappedRange(
      adopting: base, length: span.length, pageSize: pageSize, descriptor: keepsDescriptor ? file.take() : -1,
      fileOffset: span.offset, protection: protection, fillByte: options.fillByte, path: path)
    try range.apply(options, path: path, offset: offset)
    return range
  }

  private static func place(
    _ descriptor: CInt, span: (offset: Int64, slack: Int, length: Int), flags: CInt, protection: CInt, alignment: Int?,
    path: FilePath?
  ) throws(MappingError) -> UnsafeMutableRawPointer {
    guard let alignment else {
      // Shorter, one fault maps all of it anyway; longer, the kernel aligns by itself.
      let isWorthAligning = span.length >= 1 << 16 && span.length < 2 << 20
      let hint = unsafe isWorthAligning ? pgw_congruent_hint(span.offset) : nil
      guard let base = unsafe pgw_storage_map(hint, span.length, protection, flags, descriptor, span.offset) else {
        throw .last(.map, path: path, offset: span.offset, length: Int64(span.length))
      }
      return unsafe base
    }
    guard alignment > 0, alignment & (alignment - 1) == 0 else {
      throw MappingError(
        .invalidRange, operation: .map, path: path, detail: .note("alignment \(alignment) is not a power of two"))
    }
    // Reserve enough to choose from, map over the right place, give the rest back.
    let unit = max(alignment, SystemPage.size)
    let (room, overflow) = span.length.addingReportingOverflow(unit)
    let reserve = CInt(PGW_MAP_PRIVATE | PGW_MAP_ANONYMOUS | PGW_MAP_NORESERVE)
    guard !overflow else {
      throw MappingError(.addressSpaceExhausted, operation: .map, path: path, length: Int64(span.length))
    }
    guard let start = unsafe pgw_storage_map(nil, room, 0, reserve, -1, 0) else {
      throw .last(.map, path: path, offset: span.offset, length: Int64(span.length))
    }
    let wanted = Int(span.offset & Int64(unit - 1))
    let front = (wanted - Int(bitPattern: start) & (unit - 1) + unit) & (unit - 1)
    let target = unsafe start + front
    guard
      let base = unsafe pgw_storage_map(
        target, span.length, protection, flags | CInt(PGW_MAP_FIXED), descriptor, span.offset)
    else {
      let error = MappingError.last(.map, path: path, offset: span.offset, length: Int64(span.length))
      unsafe pgw_unmap(start, room)
      throw error
    }
    if front > 0 { unsafe pgw_unmap(start, front) }
    let back = room - front - span.length
    if back > 0 { unsafe pgw_unmap(base + span.length, back) }
    return unsafe base
  }
}

extension MappedRange {
  /// Sets the options that belong to the pages' place in the process. A new mapping over the same place needs them again.
  internal borrowing func apply(
    _ options: MappedFile.Options, path: FilePath?, offset: Int64
  ) throws(MappingError) {
    switch options.hugePages {
    case .system: break
    // Hints: a kernel without them must not make the mapping fail.
    case .prefer: _ = unsafe pgw_madvise(base, length, CInt(PGW_MADV_HUGEPAGE))
    case .avoid: _ = unsafe pgw_madvise(base, length, CInt(PGW_MADV_NOHUGEPAGE))
    }
    if options.fork == .omit, unsafe pgw_madvise(base, length, CInt(PGW_MADV_DONTFORK)) != 0 {
      throw .last(.advise, path: path, offset: offset, length: Int64(length))
    }
    if options.coreDump == .exclude { _ = unsafe pgw_madvise(base, length, CInt(PGW_MADV_DONTDUMP)) }
    if let name = options.name { _ = unsafe pgw_name_mapping(base, length, name) }
    if options.lock != .none, unsafe pgw_lock(base, length, options.lock == .onFault) != 0 {
      throw .last(.lock, path: path, offset: offset, length: Int64(length))
    }
  }
}

// SPDX-License-Identifier: Apache-2.0

internal import CPlatform
public import SystemPackage

/// Address space without memory, to be filled piece by piece: fixed mapping made safe.
///
/// Mapping at a chosen address silently replaces what is there. A reservation owns a range that nothing else can be in, and
/// commits memory or files only inside it, so addresses never move and nobody is overwritten.
///
/// ```swift
/// var space = try AddressReservation(byteCount: 1 << 40)       // 15 µs, no memory
/// try space.commit(0..<1 << 20)
/// try space.map(file, at: 1 << 20, length: 4096)
/// ```
///
/// C counterpart: `mmap(PROT_NONE)`, then `mmap(MAP_FIXED)` inside it.
@safe
public struct AddressReservation: ~Copyable, @unchecked Sendable {
  private let base: UnsafeMutableRawPointer
  /// Bytes reserved: whole pages.
  public let count: Int
  /// Sorted, apart from each other.
  private var pieces: [Piece] = []

  private struct Piece {
    /// Whole pages.
    var range: Range<Int>
    /// Bytes of it that may be read: of a file only those that it has.
    var byteCount: Int
    var isWritable: Bool
    var slot: Slot?
    var descriptor: CInt
  }
  @safe private struct Slot { let pointer: UnsafeMutablePointer<pgw_slot> }

  /// Reserves address space.
  ///
  /// - Parameters:
  ///   - byteCount: rounded up to pages; more than 0.
  ///   - alignment: of the first byte; a power of two, or nil for a page.
  /// - Throws: ``MappingError``: `invalidRange`, `addressSpaceExhausted` (RLIMIT_AS).
  /// - Complexity: O(1); about 15 µs whatever the size.
  public init(byteCount: Int, alignment: Int? = nil) throws(MappingError) {
    let unit = max(alignment ?? 0, SystemPage.size)
    guard byteCount > 0, let rounded = PageMath().up(byteCount), alignment ?? 1 > 0,
      (alignment ?? 1) & ((alignment ?? 1) - 1) == 0
    else {
      throw MappingError(.invalidRange, operation: .reserve, length: Int64(byteCount))
    }
    let (room, overflow) = rounded.addingReportingOverflow(alignment == nil ? 0 : unit)
    let flags = CInt(PGW_MAP_PRIVATE | PGW_MAP_ANONYMOUS | PGW_MAP_NORESERVE)
    guard !overflow, let start = unsafe pgw_map(nil, room, 0, flags, -1, 0) else {
      throw .last(.reserve, length: Int64(byteCount))
    }
    let front = alignment == nil ? 0 : (unit - Int(bitPattern: start) & (unit - 1)) & (unit - 1)
    if front > 0 { unsafe pgw_unmap(start, front) }
    let back = room - front - rounded
    if back > 0 { unsafe pgw_unmap(start + front + rounded, back) }
    unsafe base = unsafe start + front
    count = rounded
  }

  deinit {
    for piece in pieces { Self.release(piece) }
    unsafe pgw_unmap(base, count)
  }

  /// For messages: any two numbers make a range.
  private static func length(of bounds: Range<Int>) -> Int64 {
    Int64(bounds.upperBound.subtractingReportingOverflow(bounds.lowerBound).partialValue)
  }

  private static func release(_ piece: Piece) {
    if let slot = piece.slot { unsafe pgw_guard_remove(slot.pointer) }
    if piece.descriptor >= 0 { _ = pgw_close(piece.descriptor) }
  }

  /// The committed ranges in ascending order.
  public var committed: [Range<Int>] { pieces.map(\.range) }

  /// The address of the first byte. Fixed for the life of the value.
  @unsafe public var baseAddress: UnsafeMutableRawPointer { unsafe base }

  /// Puts zeroed private memory into `bounds`.
  ///
  /// - Parameter bounds: whole pages, not committed yet.
  /// - Throws: `invalidRange` when not inside or not aligned, `busy` when part of it is committed, `memoryExhausted`.
  public mutating func commit(_ bounds: Range<Int>) throws(MappingError) {
    let at = try place(for: bounds)
    // mprotect and not a new mapping: neighbours merge into one kernel area.
    guard unsafe pgw_protect(base + bounds.lowerBound, bounds.count, 3) == 0 else {
      throw .last(.reserve, offset: Int64(bounds.lowerBound), length: Self.length(of: bounds))
    }
    pieces.insert(Piece(range: bounds, byteCount: bounds.count, isWritable: true, slot: nil, descriptor: -1), at: at)
  }

  /// Maps a file for reading at `position`. The descriptor is duplicated. The range is guarded like a ``MappedFile``.
  ///
  /// - Parameters:
  ///   - file: open for reading; stays the caller's.
  ///   - fileOffset: a multiple of the page size.
  ///   - position: in the reservation; a multiple of the page size.
  ///   - length: bytes; the file must have them.
  /// - Throws: as ``commit(_:)``, and `invalidRange` when the file is shorter.
  public mutating func map(
    _ file: FileDescriptor, fileOffset: Int64 = 0, at position: Int, length: Int
  ) throws(MappingError) {
    guard length > 0, position >= 0, let rounded = PageMath().up(length),
      position.addingReportingOverflow(rounded).overflow == false, fileOffset >= 0,
      PageMath().down(fileOffset) == fileOffset
    else { throw MappingError(.invalidRange, operation: .map, offset: fileOffset, length: Int64(length)) }
    let bounds = position..<position + rounded
    let at = try place(for: bounds)
    let opened = try OpenedFile(duplicating: file.rawValue, path: nil)
    let size = try MappedFile.mappableSize(of: opened, path: nil)
    _ = try MappedFile.viewCount(size: size, offset: fileOffset, length: length, path: nil)
    let flags = CInt(PGW_MAP_SHARED | PGW_MAP_FIXED)
    guard unsafe pgw_map(base + position, rounded, 1, flags, opened.descriptor, fileOffset) != nil else {
      throw .last(.map, offset: fileOffset, length: Int64(length))
    }
    var failure: CInt = 0
    let slot = unsafe pgw_guard_add(
      base + position, rounded, SystemPage.size, opened.descriptor, UInt64(fileOffset), 1, 0, &failure)
    guard let slot = unsafe slot else {
      unsafe Self.vacate(base + position, rounded)
      throw MappingError(Errno(rawValue: failure), .guardInstall)
    }
    pieces.insert(
      Piece(
        range: bounds, byteCount: length, isWritable: false, slot: unsafe Slot(pointer: slot), descriptor: opened.take()
      ), at: at)
  }

  /// Takes memory or file out again; the addresses stay reserved.
  ///
  /// - Parameter bounds: exactly one committed range.
  /// - Throws: `invalidRange` when it is none.
  public mutating func decommit(_ bounds: Range<Int>) throws(MappingError) {
    guard let index = pieces.firstIndex(where: { $0.range == bounds }) else {
      throw MappingError(
        .invalidRange, operation: .unmap, offset: Int64(bounds.lowerBound), length: Self.length(of: bounds),
        detail: .note("not one committed range"))
    }
    let piece = pieces.remove(at: index)
    // Out of the guard's table first: it waits for handlers that still work in the range.
    if let slot = piece.slot { unsafe pgw_guard_remove(slot.pointer) }
    let isVacated = unsafe Self.vacate(base + bounds.lowerBound, bounds.count)
    if piece.descriptor >= 0 { _ = pgw_close(piece.descriptor) }
    guard isVacated else { throw .last(.unmap, offset: Int64(bounds.lowerBound), length: Self.length(of: bounds)) }
  }

  /// Puts plain reserved space over a range.
  @discardableResult
  private static func vacate(_ start: UnsafeMutableRawPointer, _ length: Int) -> Bool {
    let flags = CInt(PGW_MAP_PRIVATE | PGW_MAP_ANONYMOUS | PGW_MAP_NORESERVE | PGW_MAP_FIXED)
    return unsafe pgw_map(start, length, 0, flags, -1, 0) != nil
  }

  /// Where a piece with `bounds` belongs.
  private borrowing func place(for bounds: Range<Int>) throws(MappingError) -> Int {
    let math = PageMath()
    guard !bounds.isEmpty, bounds.lowerBound >= 0, bounds.upperBound <= count,
      math.down(bounds.lowerBound) == bounds.lowerBound, math.down(bounds.upperBound) == bounds.upperBound
    else {
      throw MappingError(
        .invalidRange, operation: .reserve, offset: Int64(bounds.lowerBound), length: Self.length(of: bounds),
        detail: .note("whole pages inside the \(count) reserved bytes"))
    }
    let at = pieces.firstIndex { $0.range.lowerBound >= bounds.lowerBound } ?? pieces.count
    let isFree =
      (at == 0 || pieces[at - 1].range.upperBound <= bounds.lowerBound)
      && (at == pieces.count || bounds.upperBound <= pieces[at].range.lowerBound)
    guard isFree else {
      throw MappingError(
        .busy, operation: .reserve, offset: Int64(bounds.lowerBound), length: Self.length(of: bounds),
        detail: .note("part of it is committed"))
    }
    return at
  }

  /// The pieces that cover `bounds` without a gap.
  private borrowing func covering(_ bounds: Range<Int>, writable: Bool) throws(MappingError) -> ArraySlice<Piece> {
    var reached = bounds.lowerBound
    guard let first = pieces.firstIndex(where: { $0.range.contains(reached) }) else {
      throw MappingError(.invalidRange, operation: .read, offset: Int64(reached), detail: .note("not committed"))
    }
    var last = first
    while true {
      let piece = pieces[last]
      guard piece.range.lowerBound <= reached, piece.isWritable || !writable else {
        throw MappingError(
          writable && !piece.isWritable ? .readOnly : .invalidRange, operation: .read, offset: Int64(reached),
          detail: .note(writable ? "a file mapped for reading" : "not committed"))
      }
      reached = piece.range.lowerBound + piece.byteCount
      if reached >= bounds.upperBound { return pieces[first...last] }
      last += 1
      guard last < pieces.count else {
        throw MappingError(.invalidRange, operation: .read, offset: Int64(reached), detail: .note("not committed"))
      }
    }
  }

  /// Runs `body` over committed bytes, across pieces; throws afterwards if a file page among them was lost.
  ///
  /// - Parameters:
  ///   - bounds: bytes of the reservation. Of a file's last page only those that the file had are committed.
  ///   - check: `.size` also finds a cut inside the last page that was read; `.stamp` is not supported.
  ///   - body: must not suspend. The span cannot leave it.
  /// - Throws: `invalidRange` where not everything is committed; after a loss what a ``MappedFile`` throws, without a path.
  public borrowing func withBytes<R>(
    _ bounds: Range<Int>, check: FaultCheck = .pages, _ body: (RawSpan) -> R
  ) throws(MappingError) -> R {
    guard check != .stamp else {
      throw MappingError(
        .notSupported, operation: .read, detail: .note("a reservation has no stamp; read a MappedFile"))
    }
    guard !bounds.isEmpty else { return body(RawSpan()) }
    let covered = try covering(bounds, writable: false)
    let result = unsafe body(RawSpan(_unsafeStart: base + bounds.lowerBound, byteCount: bounds.count))
    for piece in covered {
      guard let slot = piece.slot else { continue }
      let origin = unsafe FaultOrigin(
        slot: slot.pointer, flag: FaultFlag(slot: slot.pointer), length: piece.range.count, descriptor: piece.descriptor
      )
      if let fault = origin.fault(slack: 0, count: piece.byteCount) {
        throw MappingError(fault.code, operation: .read, offset: fault.offset, length: Int64(fault.lostRange.count))
      }
      guard check == .size else { continue }
      // How far into the file this read went.
      let end =
        unsafe Int64(slot.pointer.pointee.file_offset)
        + Int64(min(bounds.upperBound, piece.range.upperBound) - piece.range.lowerBound)
      OpenedFile.awaitCut(of: piece.descriptor)
      var now = pgw_stat()
      guard unsafe pgw_fstat(piece.descriptor, &now) == 0 else { throw .last(.stat) }
      if OpenedFile.kind(of: now.mode) == .regular, now.size < end {
        throw MappingError(
          .truncated, operation: .read, offset: now.size, length: end - now.size, detail: .fileSize(now.size))
      }
    }
    return result
  }

  /// Runs `body` over committed memory, for writing.
  ///
  /// - Throws: `invalidRange` where not everything is committed, `readOnly` where a file is mapped.
  public mutating func withMutableBytes<R>(
    _ bounds: Range<Int>, _ body: (inout MutableRawSpan) -> R
  ) throws(MappingError) -> R {
    if !bounds.isEmpty { _ = try covering(bounds, writable: true) }
    var span = unsafe MutableRawSpan(_unsafeStart: base + bounds.lowerBound, byteCount: bounds.count)
    return body(&span)
  }
}

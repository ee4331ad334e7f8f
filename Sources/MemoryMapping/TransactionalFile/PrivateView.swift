// SPDX-License-Identifier: Apache-2.0

internal import CPlatform
internal import SystemPackage

/// A copy-on-write view of a file in a reservation of address space: what is changed stays here until it is committed. Its
/// base never moves.
///
/// ```
/// base            fileBytes        mapped                          reserved
///  |  the file, private |  anonymous (grown) |  no access: room to grow  |
/// ```
@safe
internal struct PrivateView: ~Copyable, @unchecked Sendable {
  internal let base: UnsafeMutableRawPointer
  internal let reserved: Int
  /// Whole pages that are mapped from the file.
  internal private(set) var fileBytes = 0
  /// Whole pages that can be touched.
  internal private(set) var mapped = 0
  private var slot: UnsafeMutablePointer<pgw_slot>? = nil
  @usableFromInline internal private(set) var flag = FaultFlag.never
  private let descriptor: CInt

  /// Reserves `room` bytes, or as much as there is but `size` at least, and maps the file's first `size` bytes.
  ///
  /// - Parameter descriptor: stays open as long as the view; not owned.
  internal static func map(
    _ descriptor: CInt, size: Int, room: Int, path: FilePath
  ) throws(MappingError) -> PrivateView {
    let room = try AddressRoom(
      wish: room, least: size, protection: 0, flags: PGW_MAP_PRIVATE | PGW_MAP_ANONYMOUS | PGW_MAP_NORESERVE,
      descriptor: -1, .reserve, path: path)
    var view = unsafe PrivateView(reserving: room.base, room.length, descriptor)
    try view.attach(size: size, path: path)
    return view
  }

  private init(reserving base: UnsafeMutableRawPointer, _ reserved: Int, _ descriptor: CInt) {
    unsafe self.base = unsafe base
    self.reserved = reserved
    self.descriptor = descriptor
  }

  deinit {
    if let slot = unsafe slot { unsafe pgw_guard_remove(slot) }
    unsafe pgw_unmap(base, reserved)
  }

  /// Maps the file up to `size` bytes: what was anonymous there is dropped, as the file has it now.
  internal mutating func attach(size: Int, path: FilePath) throws(MappingError) {
    let end = try pages(size, path)
    guard end > fileBytes else { return }
    let flags = CInt(PGW_MAP_PRIVATE | PGW_MAP_NORESERVE | PGW_MAP_FIXED)
    guard
      unsafe pgw_storage_map(base + fileBytes, end - fileBytes, 3, flags, descriptor, Int64(fileBytes)) != nil
    else { throw .last(.map, path: path, offset: Int64(fileBytes), length: Int64(end - fileBytes)) }
    var failure: CInt = 0
    let wider = unsafe pgw_guard_add(base, end, SystemPage.size, descriptor, 0, 3, 0, &failure)
    guard let wider = unsafe wider else {
      throw MappingError(Errno(rawValue: failure), .guardInstall, path: path)
    }
    // Both answer for a moment; a loss in between is noted in both.
    if let slot = unsafe slot {
      if unsafe pgw_guard_state(slot) != 0 { isLost = true }
      unsafe pgw_guard_remove(slot)
    }
    unsafe slot = unsafe wider
    flag = unsafe FaultFlag(slot: wider)
    fileBytes = end
    mapped = max(mapped, end)
  }

  /// A loss that an earlier slot had met.
  private var isLost = false

  /// True when a page was lost: what the view shows may be made up.
  internal var isFaulted: Bool { isLost || flag.isRaised }

  internal var faultOrigin: FaultOrigin {
    unsafe FaultOrigin(slot: slot, flag: flag, length: fileBytes, descriptor: descriptor)
  }

  /// Maps the file again over everything that was mapped from it: every change there is gone, and so is the mark of a loss.
  internal mutating func remap(path: FilePath) throws(MappingError) {
    guard fileBytes > 0, let slot = unsafe slot else { return }
    let flags = CInt(PGW_MAP_PRIVATE | PGW_MAP_NORESERVE | PGW_MAP_FIXED)
    guard unsafe pgw_storage_map(base, fileBytes, 3, flags, descriptor, 0) != nil else {
      throw .last(.recover, path: path, length: Int64(fileBytes))
    }
    unsafe pgw_guard_clear(slot)
    isLost = false
  }

  /// Makes the first `count` bytes usable; new ones are zeros.
  internal mutating func grow(to count: Int, path: FilePath) throws(MappingError) {
    let end = try pages(count, path)
    guard end > mapped else { return }
    let flags = CInt(PGW_MAP_PRIVATE | PGW_MAP_ANONYMOUS | PGW_MAP_FIXED)
    guard unsafe pgw_storage_map(base + mapped, end - mapped, 3, flags, -1, 0) != nil else {
      throw .last(.resize, path: path, offset: Int64(mapped), length: Int64(end - mapped))
    }
    mapped = end
  }

  /// Forgets every change that is not in the file, and what was grown beyond `count`.
  internal mutating func discardChanges(keeping count: Int) {
    if fileBytes > 0 { _ = unsafe pgw_madvise(base, fileBytes, CInt(PGW_MADV_DONTNEED)) }
    let end = max(fileBytes, PageMath().up(count) ?? mapped)
    guard mapped > end else { return }
    // Reserved again; fails only where the kernel has no entry for it, and then the pages stay, unused.
    let flags = CInt(PGW_MAP_PRIVATE | PGW_MAP_ANONYMOUS | PGW_MAP_NORESERVE | PGW_MAP_FIXED)
    if unsafe pgw_map(base + end, mapped - end, 0, flags, -1, 0) != nil {
      mapped = end
    } else {
      _ = unsafe pgw_madvise(base + end, mapped - end, CInt(PGW_MADV_DONTNEED))
    }
  }

  private borrowing func pages(_ count: Int, _ path: FilePath) throws(MappingError) -> Int {
    guard let end = PageMath().up(count), end <= reserved else {
      throw MappingError(
        .addressSpaceExhausted, operation: .resize, path: path, length: Int64(count), detail: .limit(Int64(reserved)))
    }
    return end
  }

  /// The runs of pages that this process has changed, whole pages, ascending.
  internal borrowing func changedPages() -> [Range<Int>] {
    var ranges: [Range<Int>] = []
    var next = 0
    while next < mapped {
      let start = next
      let found = unsafe withUnsafeTemporaryAllocation(of: pgw_page_run.self, capacity: 64) { runs in
        let found = unsafe pgw_changed_pages(base, mapped, runs.baseAddress!, 64, &next)
        for index in 0..<max(0, Int(found)) {
          let run = unsafe runs[index]
          if let last = ranges.last, last.upperBound == run.start {
            ranges[ranges.count - 1] = last.lowerBound..<Int(run.end)
          } else {
            ranges.append(Int(run.start)..<Int(run.end))
          }
        }
        return found
      }
      // A kernel that cannot tell: every page may have changed. The comparison that follows finds out.
      if found < 0 { return [0..<mapped] }
      if next <= start { break }
    }
    return ranges
  }
}

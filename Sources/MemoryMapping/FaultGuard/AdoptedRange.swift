// SPDX-License-Identifier: Apache-2.0

internal import CPlatform
public import SystemPackage

/// The guard over a mapping that somebody else made and will unmap: another library, a C program, SQLite.
///
/// While the value lives, a lost page inside the range raises ``isLost`` instead of SIGBUS and reads as the fill byte. The
/// range is not unmapped at the end. Close it before the real owner unmaps, or a later mapping at the same address would
/// be taken for this one.
@safe
public struct AdoptedRange: ~Copyable, @unchecked Sendable {
  private let slot: UnsafeMutablePointer<pgw_slot>
  private let base: UnsafeMutableRawPointer
  private let length: Int
  private let flag: FaultFlag

  internal init(
    _ range: UnsafeRawBufferPointer, descriptor: FileDescriptor?, fileOffset: Int64, writable: Bool, fillByte: UInt8
  ) throws(MappingError) {
    guard let start = range.baseAddress, range.count > 0,
      Int(bitPattern: start) & (SystemPage.size - 1) == 0, fileOffset >= 0
    else {
      throw MappingError(
        .invalidRange, operation: .guardInstall, offset: fileOffset, length: Int64(range.count),
        detail: .note("an adopted range begins at a page and has bytes"))
    }
    var failure: CInt = 0
    let added = unsafe pgw_guard_add(
      UnsafeMutableRawPointer(mutating: start), range.count, SystemPage.size, descriptor?.rawValue ?? -1,
      UInt64(fileOffset), writable ? 3 : 1, fillByte, &failure)
    guard let added = unsafe added else { throw MappingError(Errno(rawValue: failure), .guardInstall) }
    unsafe slot = unsafe added
    unsafe base = unsafe UnsafeMutableRawPointer(mutating: start)
    length = range.count
    flag = unsafe FaultFlag(slot: added)
  }

  deinit { unsafe pgw_guard_remove(slot) }

  /// True once a page of the range was lost. Sticky. C counterpart: the slot's state.
  public var isLost: Bool { flag.isRaised }

  /// How many faults were answered in the range.
  public var faultCount: Int { unsafe Int(pgw_guard_loss(slot).fault_count) }

  /// The replaced part, in bytes from the start of the range; nil while healthy.
  public var lostRange: Range<Int>? {
    guard flag.isRaised else { return nil }
    let loss = unsafe pgw_guard_loss(slot)
    let lower = Int(min(loss.lost_from, UInt64(length)))
    return lower..<max(lower, Int(min(loss.lost_to, UInt64(length))))
  }

  /// The owner has mapped the file over the range again: begin anew.
  public mutating func reset() { unsafe pgw_guard_clear(slot) }

  /// Ends the guard over the range. The range itself stays mapped.
  public consuming func close() {}
}

extension FaultGuard {
  /// Guards `range`, which somebody else mapped.
  ///
  /// - Parameters:
  ///   - range: begins at a page. Must stay mapped until the returned value is closed.
  ///   - descriptor: the mapped file, so that a cut file is answered by one replacement of its whole tail. It stays the
  ///     caller's and must stay open. Nil: each lost page is its own fault.
  ///   - fileOffset: the file's offset of the range's first byte.
  ///   - writable: the replacement must accept stores, which are then lost.
  ///   - fillByte: what lost pages show. 0xFF makes most formats fail their own checks, where zeros look like data.
  /// - Throws: ``MappingError`` when the range is not page aligned or the table is full.
  @unsafe public static func adopt(
    _ range: UnsafeRawBufferPointer, descriptor: FileDescriptor? = nil, fileOffset: Int64 = 0, writable: Bool = false,
    fillByte: UInt8 = 0
  ) throws(MappingError) -> AdoptedRange {
    try unsafe AdoptedRange(
      range, descriptor: descriptor, fileOffset: fileOffset, writable: writable, fillByte: fillByte)
  }
}

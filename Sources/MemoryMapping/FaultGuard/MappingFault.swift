// SPDX-License-Identifier: Apache-2.0

internal import CPlatform
internal import SystemPackage

/// The first page that a mapping lost, and why.
public struct MappingFault: Sendable, Hashable {
  /// Why a page could not be had. Found out after the fact by asking the file; `unknown` rather than a guess.
  public enum Kind: Sendable, Hashable {
    /// The file ends before the page: somebody cut it.
    case truncated
    /// The file system has no room for the page (a hole on a full disk or tmpfs).
    case noSpace
    /// The device failed to deliver the page.
    case inputOutput
    /// The memory under the page failed.
    case memoryFailure
    /// None of these could be shown.
    case unknown
  }

  /// Where in the file the first lost page begins, in bytes.
  public let offset: Int64
  /// Why.
  public let kind: Kind
  /// How many faults were answered. One fault may stand for the whole tail of the file.
  public let count: Int
  /// The part of the mapping that is cut off from the file, in bytes from the start of the view.
  public let lostRange: Range<Int>
  /// True when at least one of the faults was a store, whose bytes are lost.
  public let includesStore: Bool

  internal var code: MappingError.Code { kind.code }
}

extension MappingFault.Kind {
  internal var code: MappingError.Code {
    switch self {
    case .truncated: .truncated
    case .noSpace: .noSpace
    case .inputOutput: .inputOutput
    case .memoryFailure: .memoryFailure
    case .unknown: .faulted
    }
  }
}

/// What it takes to explain a lost page: a copyable part of a ``MappedRange``, for views that borrow the mapping.
///
/// Valid as long as the range is mapped, which the lifetime of its holder must ensure.
@usableFromInline
@safe
internal struct FaultOrigin: @unchecked Sendable {
  internal let slot: UnsafeMutablePointer<pgw_slot>?
  internal let flag: FaultFlag
  internal let length: Int
  internal let descriptor: CInt
}

extension MappedRange {
  internal var faultOrigin: FaultOrigin {
    unsafe FaultOrigin(slot: slot, flag: flag, length: length, descriptor: descriptor)
  }

  /// What the slot tells, with the kind found out by asking the file now. Nil while healthy.
  internal func fault(slack: Int, count: Int) -> MappingFault? {
    faultOrigin.fault(slack: slack, count: count)
  }
}

extension MappedRange {
  /// The error that tells of a loss anywhere in the range; without a descriptor to ask, only that there was one.
  internal borrowing func faultError(_ operation: MappingError.Operation, path: FilePath) -> MappingError {
    guard let fault = fault(slack: 0, count: length) else {
      return MappingError(.faulted, operation: operation, path: path)
    }
    return MappingError(
      fault.code, operation: operation, path: path, offset: fault.offset, length: Int64(fault.lostRange.count))
  }
}

extension FaultOrigin {
  /// What the slot tells, with the kind found out by asking the file now. Nil while healthy.
  internal func fault(slack: Int, count viewCount: Int) -> MappingFault? {
    guard let slot = unsafe slot, flag.isRaised else { return nil }
    let loss = unsafe pgw_guard_loss(slot)
    let base = unsafe Int64(slot.pointee.file_offset)
    let offset = base + Int64(min(loss.first_lost, UInt64(length)))
    let lower = min(max(0, Int(min(loss.lost_from, UInt64(length))) - slack), viewCount)
    let upper = min(max(lower, Int(min(loss.lost_to, UInt64(length))) - slack), viewCount)
    return MappingFault(
      offset: offset, kind: kind(state: loss.state, offset: offset), count: Int(loss.fault_count),
      lostRange: lower..<upper, includesStore: loss.state & UInt32(PGW_LOST_STORE) != 0)
  }

  private func kind(state: UInt32, offset: Int64) -> MappingFault.Kind {
    if state & UInt32(PGW_LOST_MEMORY) != 0 { return .memoryFailure }
    if state & UInt32(PGW_LOST_TAIL) != 0 { return .truncated }
    guard descriptor >= 0 else { return .unknown }
    if state & UInt32(PGW_LOST_STORE) != 0 { return storeFault(at: offset) }
    // read(2) tells as an errno what the fault could not.
    var byte: UInt8 = 0
    let got = unsafe pgw_pread(descriptor, &byte, 1, offset)
    if got < 0 { return Errno.current == .ioError ? .inputOutput : .unknown }
    if got == 0 { return .truncated }
    return isFull ? .noSpace : .unknown
  }

  /// `error` with the reason why the page that holds the file's byte `offset` cannot be stored to, where it can be told.
  internal func storeFailure(_ error: MappingError, at offset: Int64) -> MappingError {
    var error = error
    let page = Int64(SystemPage.size)
    let kind = storeFault(at: offset / page * page)
    if kind != .unknown { error.code = kind.code }
    var now = pgw_stat()
    if kind == .truncated, unsafe pgw_fstat(descriptor, &now) == 0 { error.detail = .fileSize(now.size) }
    return error
  }

  /// Why the page at the file's byte `offset` cannot be stored to.
  private func storeFault(at offset: Int64) -> MappingFault.Kind {
    guard descriptor >= 0 else { return .unknown }
    var byte: UInt8 = 0
    let got = unsafe pgw_pread(descriptor, &byte, 1, offset)
    if got < 0 { return Errno.current == .ioError ? .inputOutput : .unknown }
    if got == 0 { return .truncated }
    // Asking for the page's blocks gives the errno that the fault had no room for: also that of a quota.
    var now = pgw_stat()
    guard unsafe pgw_fstat(descriptor, &now) == 0 else { return .unknown }
    let length = min(Int64(SystemPage.size), now.size - offset)
    if length > 0, pgw_allocate(descriptor, offset, length) != 0 {
      switch Errno.current {
      case .noSpace, .diskQuotaExceeded: return .noSpace
      case .ioError: return .inputOutput
      default: break
      }
    }
    // The page has blocks, and each change needs new ones: a file system that never overwrites, or blocks shared with a clone.
    return isFull || pgw_has_room_beside(descriptor, 1 << 20) == 0 ? .noSpace : .unknown
  }

  /// True when the file system has next to nothing left: copying file systems fail a little before zero.
  private var isFull: Bool {
    var system = pgw_filesystem()
    guard unsafe pgw_fstatfs(descriptor, &system) == 0, system.total_bytes > 0 else { return false }
    return system.free_bytes < UInt64(max(SystemPage.size, 1 << 20))
      && system.free_bytes < max(UInt64(SystemPage.size), system.total_bytes / 100)
  }
}

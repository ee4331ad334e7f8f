// SPDX-License-Identifier: Apache-2.0

internal import CPlatform
internal import MemoryMapping
internal import SystemPackage

/// Page aligned memory of one size, made at its first use. What was never touched costs addresses only.
@safe
internal struct StreamBuffer: ~Copyable {
  /// Nil before ``reserve(_:path:)``.
  internal private(set) var base: UnsafeMutableRawPointer?
  internal private(set) var capacity = 0

  internal init() { unsafe base = nil }

  deinit {
    if let base = unsafe base { _ = unsafe pgw_unmap(base, capacity) }
  }

  /// Makes room for `count` bytes, keeping the first `keeping`.
  ///
  /// - Throws: `memoryExhausted`.
  internal mutating func reserve(_ count: Int, keeping: Int = 0, path: FilePath?) throws(MappingError) {
    guard count > capacity else { return }
    let page = SystemPage.size
    let (sum, overflow) = count.addingReportingOverflow(page - 1)
    let length = sum / page * page
    guard !overflow,
      let fresh = unsafe pgw_map(nil, length, 3, CInt(PGW_MAP_PRIVATE | PGW_MAP_ANONYMOUS), -1, 0)
    else { throw MappingError(.memoryExhausted, operation: .read, path: path, length: Int64(count)) }
    if let base = unsafe base {
      if keeping > 0 { unsafe fresh.copyMemory(from: base, byteCount: keeping) }
      _ = unsafe pgw_unmap(base, capacity)
    }
    unsafe base = unsafe fresh
    capacity = length
  }

  /// Puts `count` bytes behind the first `filled`; grows by doubling.
  internal mutating func append(
    _ bytes: UnsafeRawPointer, _ count: Int, filled: Int, path: FilePath?
  ) throws(MappingError) {
    let (needed, overflow) = filled.addingReportingOverflow(count)
    guard !overflow else { throw MappingError(.memoryExhausted, operation: .read, path: path) }
    if needed > capacity {
      let doubled = capacity.multipliedReportingOverflow(by: 2)
      try reserve(max(needed, doubled.overflow ? 0 : doubled.partialValue), keeping: filled, path: path)
    }
    if count > 0, let base = unsafe base { unsafe (base + filled).copyMemory(from: bytes, byteCount: count) }
  }
}

// SPDX-License-Identifier: Apache-2.0

internal import Synchronization
internal import SystemPackage

#if canImport(Glibc)
  internal import Glibc
#elseif canImport(Musl)
  internal import Musl
#elseif canImport(Darwin)
  internal import Darwin
#endif

/// Memory to read into: from malloc when it is small, and else from one kept buffer of ``CostModel/keptBuffer`` bytes.
///
/// A new large buffer costs the kernel a fault and a cleared page for every 4 KiB, more than the copy into it. So the
/// process keeps one, whoever needs it takes it, and who finds it taken asks malloc.
@safe
internal struct ReadBuffer: ~Copyable {
  /// Nil while nothing was asked for.
  internal private(set) var base: UnsafeMutableRawPointer?
  internal private(set) var capacity: Int
  private var isKept: Bool

  internal init() {
    unsafe base = nil
    capacity = 0
    isKept = false
  }

  deinit {
    if let base = unsafe base { unsafe Self.release(base, isKept: isKept) }
  }

  /// Makes room for `count` bytes. Content is lost unless `keeping` bytes are asked to be kept.
  ///
  /// - Throws: `memoryExhausted` instead of a trap.
  internal mutating func reserve(
    _ count: Int, keeping: Int = 0, path: FilePath?
  ) throws(MappingError) {
    guard count > capacity else { return }
    let fresh = unsafe try Self.take(count, path: path)
    if let base = unsafe base {
      if keeping > 0 { unsafe fresh.base.copyMemory(from: base, byteCount: keeping) }
      unsafe Self.release(base, isKept: isKept)
    }
    unsafe base = unsafe fresh.base
    capacity = unsafe fresh.capacity
    isKept = unsafe fresh.isKept
  }

  /// The address of the kept buffer while nobody has it; 0 while somebody does or before the first use.
  private static let kept = Atomic<UInt>(0)

  /// Below this, malloc has warm memory at hand.
  private static let smallest = 16 << 10

  private static func take(
    _ count: Int, path: FilePath?
  ) throws(MappingError) -> (base: UnsafeMutableRawPointer, capacity: Int, isKept: Bool) {
    let most = Int(CostModel.keptBuffer)
    if count > smallest, count <= most {
      // Acquire pairs with the release in `release`: the last owner's writes are done.
      let address = kept.exchange(0, ordering: .acquiring)
      if let base = unsafe UnsafeMutableRawPointer(bitPattern: address) { return unsafe (base, most, true) }
      if let base = unsafe malloc(most) { return unsafe (base, most, true) }
    }
    guard let base = unsafe malloc(count) else {
      throw MappingError(.memoryExhausted, operation: .read, path: path, length: Int64(count))
    }
    return unsafe (base, count, false)
  }

  private static func release(_ base: UnsafeMutableRawPointer, isKept: Bool) {
    guard isKept else {
      unsafe free(base)
      return
    }
    let address = UInt(bitPattern: base)
    let (done, _) = kept.compareExchange(expected: 0, desired: address, ordering: .releasing)
    if !done { unsafe free(base) }
  }
}

// SPDX-License-Identifier: Apache-2.0

internal import Synchronization

/// Numbers that any peer of a region adds to, each on a cache line of its own.
///
/// Adding is one atomic instruction: a peer that is killed has added or has not. Nothing is ordered by it.
@safe
public struct SharedCounters: Sendable {
  /// Bytes from one counter to the next.
  internal static let stride = 64

  private let storage: RegionStorage
  private let offset: Int
  /// How many there are.
  public let count: Int

  internal init(_ storage: RegionStorage, offset: Int, count: Int) {
    self.storage = storage
    self.offset = offset
    self.count = count
  }

  private func word(_ index: Int) -> UnsafeMutablePointer<Atomic<UInt64>> {
    precondition(index >= 0 && index < count, "SharedCounters: the index lies inside the part")
    return unsafe (storage.base + offset + index * Self.stride).assumingMemoryBound(to: Atomic<UInt64>.self)
  }

  /// The value now.
  public subscript(index: Int) -> UInt64 { unsafe word(index).pointee.load(ordering: .relaxed) }

  /// Adds, modulo 2^64. The new value.
  @discardableResult
  public func add(_ amount: UInt64, at index: Int) -> UInt64 {
    unsafe word(index).pointee.wrappingAdd(amount, ordering: .relaxed).newValue
  }
}

/// The same numbers to look at.
public struct SharedCountersReader: Sendable {
  private let counters: SharedCounters

  internal init(_ counters: SharedCounters) { self.counters = counters }

  /// How many there are.
  public var count: Int { counters.count }
  /// The value now.
  public subscript(index: Int) -> UInt64 { counters[index] }
}

extension RegionStorage {
  fileprivate func counters(_ name: String) throws(SharedMemoryError) -> SharedCounters {
    let placed = try part(name, .counters, "use")
    guard placed.part.elementSize == SharedCounters.stride else {
      throw SharedMemoryError(
        .layoutDiffers, "use", region: self.name, part: name, note: "its counters have another size")
    }
    return SharedCounters(self, offset: placed.offset, count: placed.part.byteCount / SharedCounters.stride)
  }
}

extension SharedRegion {
  /// A part of kind `counters`.
  ///
  /// - Throws: ``SharedMemoryError``: `noSuchPart`, `layoutDiffers`, `forked`.
  public borrowing func counters(_ name: String) throws(SharedMemoryError) -> SharedCounters {
    try storage.counters(name)
  }
}

extension SharedRegionReader {
  /// A part of kind `counters`.
  ///
  /// - Throws: ``SharedMemoryError``: `noSuchPart`, `layoutDiffers`, `forked`.
  public borrowing func counters(_ name: String) throws(SharedMemoryError) -> SharedCountersReader {
    SharedCountersReader(try storage.counters(name))
  }
}

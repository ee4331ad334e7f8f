// SPDX-License-Identifier: Apache-2.0

public import MemoryMapping

/// The latest value that one writer has stored, for any number of readers.
///
/// ```swift
/// var quotes = try region.cellWriter("quote", of: Quote.self)
/// quotes.store(quote)
///
/// let quote = try reader.cell("quote", of: Quote.self).load()
/// ```
///
/// The writer never waits, and readers leave no trace. A value is read whole or not at all: a writer that is killed in the middle of a store leaves the
/// value before. Readers do not see every value, only a later one each time.
@safe
public struct SharedCell<Value: FixedLayout>: Sendable {
  private let storage: RegionStorage
  private let part: String
  private let offset: Int

  internal init(_ storage: RegionStorage, part: String, offset: Int) {
    self.storage = storage
    self.part = part
    self.offset = offset
  }

  /// The latest value; nil before the first one.
  ///
  /// - Throws: ``SharedMemoryError``: `faulted`; `timedOut` when the writer completed a value during each of 10,000 attempts and 100 ms, which takes a writer that does
  ///   nothing else.
  @inlinable
  public func load() throws(SharedMemoryError) -> Value? { try loadNumbered()?.value }

  /// The latest value and how many there were up to it.
  ///
  /// - Throws: as ``load()``.
  @inlinable
  public func loadNumbered() throws(SharedMemoryError) -> (value: Value, number: UInt64)? {
    let byteCount = MemoryLayout<Value>.size
    let count = max(1, (byteCount &+ 7) / 8)
    // The buffer is of a size that the compiler knows where the type is known, and then a part of the caller's frame.
    let found = unsafe withUnsafeTemporaryAllocation(byteCount: count &* 8, alignment: 16) {
      (buffer) -> Result<(Value, UInt64)?, SharedMemoryError> in
      do throws(SharedMemoryError) {
        let number = unsafe try read(byteCount, into: buffer.baseAddress!)
        return .success(number == 0 ? nil : unsafe (buffer.load(as: Value.self), number))
      } catch {
        return .failure(error)
      }
    }
    return try found.get()
  }

  /// Copies the latest value, as words. Its number, 0 when there is none.
  @usableFromInline
  internal func read(_ byteCount: Int, into start: UnsafeMutableRawPointer) throws(SharedMemoryError) -> UInt64 {
    let cell = unsafe CellProtocol(words: RegionWords(base: storage.base + offset), byteCount: byteCount)
    var attempts = Attempts(free: 10_000)
    while attempts.next() {
      let found = cell.read((byteCount + 7) / 8) { index, word in
        unsafe start.storeBytes(of: word, toByteOffset: index &* 8, as: UInt64.self)
      }
      if let found {
        try storage.checkFault("read")
        return found
      }
    }
    try storage.checkFault("read")
    throw SharedMemoryError(.timedOut, "read", region: storage.name, part: part)
  }
}

/// The one writer of a ``SharedCell``. The next one takes over from one that is dead.
@safe
public struct SharedCellWriter<Value: FixedLayout>: ~Copyable, Sendable {
  private let storage: RegionStorage
  private let part: String
  private let offset: Int

  internal init(_ storage: RegionStorage, part: String, offset: Int) throws(SharedMemoryError) {
    let words = unsafe RegionWords(base: storage.base + offset)
    guard OwnerWord.take(words, CellProtocol<RegionWords>.token, storage) else {
      throw SharedMemoryError(.taken, "write to", region: storage.name, part: part, note: "it has one writer")
    }
    self.storage = storage
    self.part = part
    self.offset = offset
  }

  deinit {
    guard !storage.isForeign else { return }
    let words = unsafe RegionWords(base: storage.base + offset)
    _ = words.compareExchange(storage.token.rawValue, 0, CellProtocol<RegionWords>.token, "cell.leave")
  }

  /// Stores the next value.
  ///
  /// - Throws: ``SharedMemoryError``: `faulted`, `forked`.
  @inlinable
  public mutating func store(_ value: Value) throws(SharedMemoryError) {
    let byteCount = MemoryLayout<Value>.size
    let count = max(1, (byteCount &+ 7) / 8)
    let failure = unsafe withUnsafeTemporaryAllocation(byteCount: count &* 8, alignment: 16) {
      (buffer) -> SharedMemoryError? in
      // The bytes behind the value in its last word.
      unsafe buffer.storeBytes(of: 0, toByteOffset: count &* 8 &- 8, as: UInt64.self)
      unsafe buffer.storeBytes(of: value, as: Value.self)
      do throws(SharedMemoryError) {
        try unsafe write(byteCount, from: buffer.baseAddress!)
        return nil
      } catch {
        return error
      }
    }
    if let failure { throw failure }
  }

  /// Writes the next value, given as words.
  @usableFromInline
  internal mutating func write(_ byteCount: Int, from start: UnsafeMutableRawPointer) throws(SharedMemoryError) {
    if storage.isForeign { throw SharedMemoryError(.forked, "write to", region: storage.name, part: part) }
    let cell = unsafe CellProtocol(words: RegionWords(base: storage.base + offset), byteCount: byteCount)
    cell.write((byteCount + 7) / 8) { unsafe start.load(fromByteOffset: $0 &* 8, as: UInt64.self) }
    try storage.checkFault("write to")
  }
}

extension RegionLayout.Part {
  /// The latest value of a type: see ``SharedCell``. The type's layout is checked again by whoever opens it.
  public static func cell<Value: FixedLayout>(_ name: String, of type: Value.Type) -> RegionLayout.Part {
    RegionLayout.Part(
      name, kind: .cell, byteCount: CellProtocol<RegionWords>.byteCount(MemoryLayout<Value>.size),
      elementSize: MemoryLayout<Value>.size, layoutHash: LayoutHash.hash(of: type))
  }
}

extension RegionStorage {
  fileprivate func cell<Value: FixedLayout>(
    _ name: String, of type: Value.Type, _ operation: String
  ) throws(SharedMemoryError) -> Int {
    let placed = try part(name, .cell, operation)
    let wanted = RegionLayout.Part.cell(name, of: type)
    guard placed.part == wanted else {
      throw SharedMemoryError(
        .layoutDiffers, operation, region: self.name, part: name,
        note:
          "its values have \(placed.part.elementSize) bytes, \(type) has \(wanted.elementSize), or their fields differ")
    }
    return placed.offset
  }
}

extension SharedRegion {
  /// A part of kind `cell`, to read.
  ///
  /// - Throws: ``SharedMemoryError``: `noSuchPart`, `layoutDiffers`, `forked`.
  public borrowing func cell<Value: FixedLayout>(
    _ name: String, of type: Value.Type
  ) throws(SharedMemoryError) -> SharedCell<Value> {
    SharedCell(storage, part: name, offset: try storage.cell(name, of: type, "read"))
  }

  /// A part of kind `cell`, to write, for as long as the value lives.
  ///
  /// - Throws: ``SharedMemoryError``: `taken` while a living writer has it, `noSuchPart`, `layoutDiffers`, `forked`.
  public borrowing func cellWriter<Value: FixedLayout>(
    _ name: String, of type: Value.Type
  ) throws(SharedMemoryError) -> SharedCellWriter<Value> {
    try SharedCellWriter(storage, part: name, offset: try storage.cell(name, of: type, "write to"))
  }
}

extension SharedRegionReader {
  /// A part of kind `cell`.
  ///
  /// - Throws: ``SharedMemoryError``: `noSuchPart`, `layoutDiffers`.
  public borrowing func cell<Value: FixedLayout>(
    _ name: String, of type: Value.Type
  ) throws(SharedMemoryError) -> SharedCell<Value> {
    SharedCell(storage, part: name, offset: try storage.cell(name, of: type, "read"))
  }
}

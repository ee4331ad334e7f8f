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

  fileprivate static var wordCount: Int { (MemoryLayout<Value>.size + 7) / 8 }

  private var cell: CellProtocol<RegionWords> {
    unsafe CellProtocol(words: RegionWords(base: storage.base + offset), byteCount: MemoryLayout<Value>.size)
  }

  /// The latest value; nil before the first one.
  ///
  /// - Throws: ``SharedMemoryError``: `faulted`; `timedOut` when the writer completed a value during each of 10,000 attempts, which takes a writer that does
  ///   nothing else.
  public func load() throws(SharedMemoryError) -> Value? { try loadNumbered()?.value }

  /// The latest value and how many there were up to it.
  ///
  /// - Throws: as ``load()``.
  public func loadNumbered() throws(SharedMemoryError) -> (value: Value, number: UInt64)? {
    var found: UInt64? = nil
    let value = unsafe withUnsafeTemporaryAllocation(byteCount: Self.wordCount * 8, alignment: 16) { buffer in
      for _ in 0..<10_000 where found == nil {
        found = cell.read(Self.wordCount) { index, word in
          unsafe buffer.storeBytes(of: word, toByteOffset: index &* 8, as: UInt64.self)
        }
      }
      return found ?? 0 == 0 ? nil : unsafe buffer.load(as: Value.self)
    }
    try storage.checkFault("read")
    guard let number = found else { throw SharedMemoryError(.timedOut, "read", region: storage.name, part: part) }
    return value.map { ($0, number) }
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
  public mutating func store(_ value: Value) throws(SharedMemoryError) {
    if storage.isForeign { throw SharedMemoryError(.forked, "write to", region: storage.name, part: part) }
    let cell = unsafe CellProtocol(words: RegionWords(base: storage.base + offset), byteCount: MemoryLayout<Value>.size)
    let wordCount = SharedCell<Value>.wordCount
    unsafe withUnsafeTemporaryAllocation(byteCount: wordCount * 8, alignment: 16) { buffer in
      // The bytes behind the value in its last word.
      unsafe buffer.storeBytes(of: 0, toByteOffset: wordCount * 8 - 8, as: UInt64.self)
      unsafe buffer.storeBytes(of: value, as: Value.self)
      cell.write(wordCount) { unsafe buffer.load(fromByteOffset: $0 &* 8, as: UInt64.self) }
    }
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

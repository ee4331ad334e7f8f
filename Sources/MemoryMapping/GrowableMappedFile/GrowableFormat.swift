// SPDX-License-Identifier: Apache-2.0
//
// The file of a GrowableMappedFile. All numbers are little-endian; checksums are CRC-32C.
//
//   offset  size
//        0     8  magic "PGWGROW\n"
//        8     4  version, 1
//       12     4  stride: bytes of each record, 0 for records of any length
//       16     8  identifier, random: what the checksums of slots and data begin with
//       24     4  checksum of bytes 0..<24
//      512    32  durable slot A } written in turn, one by each flush, before its sync
//     1024    32  durable slot B }
//     1536    32  commit slot A  } written in turn, one by each append
//     2048    32  commit slot B  }
//     2560     8  committed length: stored last, with release; what readers load, with acquire
//     4096     -  the data, one byte behind the other; behind its end zeros or what an append had begun
//
// Slot
//        0     8  sequence: of two slots that are right, the higher one is the newer
//        8     8  base: length that was durable when the slot was written
//       16     8  length of the data
//       24     4  checksum of the data from base to length
//       28     4  checksum of bytes 0..<28
//
// What is committed survives the end of the process: stores are in the page cache, in the order of the program. A power cut
// leaves any mixture of old and new sectors since the last flush, so what is found is believed only as far as its checksum goes:
//
//   1. Of the durable slots the newest whose data from base to length has its checksum. One of them always has: the older one's
//      sync had ended before the newer one was written.
//   2. Beyond that, the newest commit slot whose base is that length, and whose data has its checksum.
//
// Opening for writing makes that so: what came after the older of the two flushes is written once more and synced, as its writer may
// have been killed before its sync ended, or have met one that failed.
//
// Each slot is a sector of its own, and the one that is not being written stays as it was.

internal import CPlatform
internal import SystemPackage

internal enum GrowableFormat {
  internal static let magic = Array("PGWGROW\n".utf8)
  internal static let version: UInt32 = 1
  internal static let headerSize = 4096
  internal static let durableSlots = [512, 1024]
  internal static let commitSlots = [1536, 2048]
  internal static let committedOffset = 2560

  internal struct Slot: Sendable, Hashable {
    internal static let byteCount = 32
    internal var sequence: UInt64
    internal var base: Int
    internal var length: Int
    internal var checksum: UInt32

    internal init(sequence: UInt64, base: Int, length: Int, checksum: UInt32) {
      self.sequence = sequence
      self.base = base
      self.length = length
      self.checksum = checksum
    }

    internal init?(_ bytes: ArraySlice<UInt8>, seed: UInt32) {
      let at = bytes.startIndex
      guard bytes.count == Self.byteCount,
        UInt32(littleEndian: bytes.load(at: at + 28)) == Journal.checksum(bytes[at..<at + 28], seed),
        let base = Int(exactly: UInt64(littleEndian: bytes.load(at: at + 8))),
        let length = Int(exactly: UInt64(littleEndian: bytes.load(at: at + 16))), base <= length,
        length <= Int.max - GrowableFormat.headerSize,
        // No number of appends reaches it; more is damage.
        UInt64(littleEndian: bytes.load(at: at)) < 1 << 62
      else { return nil }
      self.init(
        sequence: UInt64(littleEndian: bytes.load(at: at)), base: base, length: length,
        checksum: UInt32(littleEndian: bytes.load(at: at + 24)))
    }

    /// The slot as it lies in the file, without an allocation: this is written with every append.
    internal func encoded(seed: UInt32) -> (UInt64, UInt64, UInt64, UInt64) {
      var words = (
        sequence.littleEndian, UInt64(base).littleEndian, UInt64(length).littleEndian, UInt64(checksum).littleEndian
      )
      let own = unsafe withUnsafeBytes(of: words) { unsafe pgw_crc32c(seed, $0.baseAddress, 28) }
      words.3 = (UInt64(checksum) | UInt64(own) << 32).littleEndian
      return words
    }
  }

  /// A header that was read.
  internal struct Header: Sendable, Hashable {
    internal var stride: Int
    internal var identifier: UInt64
    internal var durable: [Slot?]
    internal var commits: [Slot?]
    internal var committed: UInt64

    /// - Parameter bytes: the first 4,096 of the file.
    internal init(_ bytes: [UInt8], path: FilePath, _ operation: MappingError.Operation) throws(MappingError) {
      func refuse(_ why: String, _ code: MappingError.Code = .corrupt) -> MappingError {
        MappingError(code, operation: operation, path: path, offset: 0, detail: .note(why))
      }
      guard bytes.starts(with: magic) else {
        throw refuse("not a growable file: its first 8 bytes are others", .invalidLayout)
      }
      guard bytes.count == headerSize else { throw refuse("shorter than its header", .invalidLayout) }
      let version = UInt32(littleEndian: bytes.load(at: 8))
      guard version == GrowableFormat.version else { throw refuse("version \(version)", .notSupported) }
      guard UInt32(littleEndian: bytes.load(at: 24)) == Journal.checksum(bytes[..<24], 0) else {
        throw refuse("the checksum of its header is wrong")
      }
      stride = Int(UInt32(littleEndian: bytes.load(at: 12)))
      identifier = UInt64(littleEndian: bytes.load(at: 16))
      let seed = GrowableFormat.seed(identifier)
      func slots(_ offsets: [Int]) -> [Slot?] { offsets.map { Slot(bytes[$0..<$0 + Slot.byteCount], seed: seed) } }
      durable = slots(durableSlots)
      commits = slots(commitSlots)
      committed = UInt64(littleEndian: bytes.load(at: committedOffset))
    }
  }

  internal static func seed(_ identifier: UInt64) -> UInt32 {
    var word = identifier.littleEndian
    return unsafe withUnsafeBytes(of: &word) { unsafe pgw_crc32c(0, $0.baseAddress, 8) }
  }

  /// A new file's first page.
  internal static func newHeader(identifier: UInt64, stride: Int) -> [UInt8] {
    var bytes = magic + [UInt8](repeating: 0, count: headerSize - 8)
    bytes.store(version.littleEndian, at: 8)
    bytes.store(UInt32(stride).littleEndian, at: 12)
    bytes.store(identifier.littleEndian, at: 16)
    bytes.store(Journal.checksum(bytes[..<24], 0).littleEndian, at: 24)
    let seed = seed(identifier)
    let empty = Slot(sequence: 1, base: 0, length: 0, checksum: seed).encoded(seed: seed)
    for offset in [durableSlots[1], commitSlots[1]] {
      unsafe withUnsafeBytes(of: empty) { unsafe bytes.replaceSubrange(offset..<offset + Slot.byteCount, with: $0) }
    }
    return bytes
  }
}

/// What a file holds, found by its slots and checksums.
internal struct GrowableContent: Sendable, Hashable {
  /// Length that a power cut cannot take away.
  internal var durable: Int
  /// Where the data of the newest flush begins: from here on checksums tell of it.
  internal var durableBase: Int
  /// Length of what was committed.
  internal var committed: Int
  /// Checksum of the data from `durable` to `committed`.
  internal var checksum: UInt32
  /// The highest sequence in use.
  internal var sequence: UInt64
  /// The length that the older durable slot tells: all up to there is on disk, whatever became of the last sync.
  internal var settled: Int
  /// Which durable slot tells `durable`: the other one is written next.
  internal var durableSlot: Int

  /// - Parameters:
  ///   - descriptor: to read data by.
  ///   - size: of the file.
  /// - Throws: `corrupt`, `inputOutput`.
  internal init(
    _ header: GrowableFormat.Header, descriptor: CInt, size: Int64, path: FilePath, _ operation: MappingError.Operation
  ) throws(MappingError) {
    let seed = GrowableFormat.seed(header.identifier)
    let room = max(0, Int(clamping: size - Int64(GrowableFormat.headerSize)))
    var found: Int?
    var base = 0
    var trueSequence: UInt64 = 0
    for slot in Self.newestFirst(header.durable) where found == nil {
      if try Self.isTrue(slot, room, seed, descriptor, path, operation) {
        (found, base, trueSequence) = (slot.length, slot.base, slot.sequence)
      }
    }
    guard let found else {
      throw MappingError(
        .corrupt, operation: operation, path: path, offset: Int64(GrowableFormat.durableSlots[0]),
        detail: .note("what had been flushed does not have its checksum"))
    }
    // A commit knows what was durable before it: a durable slot that says less has been damaged since.
    if let base = header.commits.compactMap({ $0?.base }).max(), base > found {
      throw MappingError(
        .corrupt, operation: operation, path: path, offset: Int64(GrowableFormat.durableSlots[0]),
        detail: .note("\(base) bytes had been flushed, and only \(found) have their checksum"))
    }
    durableSlot = header.durable.firstIndex { $0?.length == found && $0?.sequence == trueSequence } ?? 0
    settled = min(found, header.durable.compactMap { $0?.length }.min() ?? 0)
    durable = found
    durableBase = base
    committed = found
    checksum = seed
    for slot in Self.newestFirst(header.commits) where committed == found {
      guard slot.base == found, slot.length > found else { continue }
      if try Self.isTrue(slot, room, seed, descriptor, path, operation) {
        committed = slot.length
        checksum = slot.checksum
      }
    }
    sequence = (header.durable + header.commits).compactMap { $0?.sequence }.max() ?? 0
  }

  private static func newestFirst(_ slots: [GrowableFormat.Slot?]) -> [GrowableFormat.Slot] {
    slots.compactMap { $0 }.sorted { $0.sequence > $1.sequence }
  }

  private static func isTrue(
    _ slot: GrowableFormat.Slot, _ room: Int, _ seed: UInt32, _ descriptor: CInt, _ path: FilePath,
    _ operation: MappingError.Operation
  ) throws(MappingError) -> Bool {
    guard slot.length <= room else { return false }
    var checksum = seed
    var at = slot.base
    var bytes = [UInt8](repeating: 0, count: min(1 << 20, slot.length - slot.base))
    while at < slot.length {
      let step = min(bytes.count, slot.length - at)
      let offset = Int64(GrowableFormat.headerSize + at)
      let got = unsafe bytes.withUnsafeMutableBytes {
        unsafe pgw_storage_read(descriptor, $0.baseAddress!, step, offset)
      }
      guard got >= 0 else { throw .last(operation, path: path, offset: offset, length: Int64(step)) }
      guard got == step else { return false }
      checksum = Journal.checksum(bytes[..<step], checksum)
      at += step
    }
    return checksum == slot.checksum
  }
}

// SPDX-License-Identifier: Apache-2.0
//
// The journal of a TransactionalFile: FILE.pagewise-journal, beside FILE.
//
// All numbers are little-endian. Checksums are CRC-32C; those of slots and records begin with the journal's identifier, so that
// bytes of another journal never pass.
//
// Header, 4,096 bytes. It is written under another name and renamed, so it is there whole or not at all.
//
//   offset  size
//        0     8  magic "PGWTXJ\r\n"
//        8     4  version, 1
//       12     4  0
//       16    16  identifier, random
//       32     8  inode of FILE
//       40     8  birth time of FILE in ns since 1970, 0 when the file system has none
//       48     4  checksum of bytes 0..<48
//      512    32  slot A   } the valid one with the higher epoch counts; a new epoch goes to the other one, so that a torn
//     1024    32  slot B   } write leaves the old
//     2048    16  state, twice: see below. Not part of recovery; only checked against it.
//     4096     -  records of the epoch, one behind the other; behind them whatever older epochs left
//
// Slot
//        0     8  epoch, from 1
//        8     8  generation that FILE has on disk when the epoch begins
//       16     8  size of FILE then
//       24     4  checksum of bytes 0..<24
//       28     4  0
//
// Record: one committed generation. Begins at a multiple of 512.
//        0     8  magic "PGWTXREC"
//        8     8  epoch
//       16     8  generation: that of the record before, plus one
//       24     8  generation that was durable when this was written: all records up to it must be whole
//       32     8  size of FILE afterwards
//       40     8  length of the record with padding, a multiple of 512
//       48     4  count of runs
//       52     4  checksum of the body: runs and bytes
//       56     4  checksum of bytes 0..<56
//       60     4  0
//       64  16*n  runs: offset in FILE, length; ascending, apart from each other
//        -     -  the new bytes of the runs, one behind the other; then zeros up to the length
//
// State: generation that FILE shows to readers, shifted left by one; the lowest bit says that a newer one is being applied.
// Written twice, the lower word first; a reader loads the upper word first, and equal words are one state.
//
// Life of a commit: record -> data sync of the journal (the commit point) -> runs to FILE. Replaying records in order is
// idempotent whatever part of them has reached FILE: each byte that a record names gets its value, and no other byte was
// touched. A checkpoint syncs FILE, then begins a new epoch: slot -> data sync of the journal. Only then are old records
// overwritten.

internal import CPlatform
internal import SystemPackage

/// The open journal of one writer.
@safe
internal struct Journal: ~Copyable, @unchecked Sendable {
  internal static let headerSize = 4096
  internal static let recordAlignment = 512
  internal static let recordHeaderSize = 64
  internal static let version: UInt32 = 1
  /// No epoch and no generation reaches this; a larger one in a file is damage.
  internal static let numberLimit: UInt64 = 1 << 60
  /// Runs of one record. A commit with more joins them; whoever reads one needs 16 bytes for each.
  internal static let runLimit = 1 << 22
  internal static let slotOffsets: [Int64] = [512, 1024]
  internal static let stateOffset: Int64 = 2048

  internal let descriptor: OwnedDescriptor
  internal let path: FilePath
  /// As it was found.
  internal let header: Header
  internal var identifier: [UInt8] { header.identifier }
  /// The epoch that records are written to.
  internal var slot: Slot
  /// Where the next record goes.
  internal var end: Int64 = Int64(Journal.headerSize)
  /// Bytes that the file has: up to there a record overwrites, which needs no new blocks.
  internal var capacity: Int64
  private var buffer = ScratchBuffer()

  /// What a checkpoint leaves.
  internal struct Slot: Sendable, Hashable {
    internal var epoch: UInt64
    internal var generation: UInt64
    internal var size: Int64
  }

  /// A record that lies whole in the journal.
  internal struct Record: Sendable, Hashable {
    internal var offset: Int64
    internal var length: Int64
    internal var generation: UInt64
    internal var durableGeneration: UInt64
    internal var size: Int64
    internal var runCount: Int
    internal var bodyChecksum: UInt32
  }

  internal init(
    descriptor: consuming OwnedDescriptor, path: FilePath, header: Header, slot: Slot, capacity: Int64
  ) {
    self.descriptor = descriptor
    self.path = path
    self.header = header
    self.slot = slot
    self.capacity = capacity
  }

  /// The journal that belongs to a file.
  internal static func path(of file: FilePath) -> FilePath {
    file.appending(suffix: ".pagewise-journal")
  }

  // ---------------------------------------------------------------------------------------------- writing

  /// Writes one record behind the last one; it is not durable before ``sync()``.
  ///
  /// - Parameters:
  ///   - runs: changed bytes, offsets in the file, which are offsets from `bytes` too.
  ///   - isSound: asked when all bytes have been read and before the record can become valid: false when some were made up.
  /// - Returns: nil when they were.
  internal mutating func append(
    generation: UInt64, durable: UInt64, size: Int64, runs: [pgw_byte_run], bytes: UnsafeRawPointer,
    isSound: () -> Bool
  ) throws(MappingError) -> Record? {
    var total = Self.recordHeaderSize + 16 * runs.count
    for run in runs { total += Int(run.length) }
    let length = (total + Self.recordAlignment - 1) / Self.recordAlignment * Self.recordAlignment
    guard runs.count <= Self.runLimit else {
      throw MappingError(.limitExceeded, operation: .commit, path: path, detail: .note("\(runs.count) changed parts"))
    }
    try reserve(upTo: end + Int64(length))
    var record = Record(
      offset: end, length: Int64(length), generation: generation, durableGeneration: durable, size: size,
      runCount: runs.count, bodyChecksum: seed)

    // One write when it fits; else the header goes last. Nothing hangs on the order: the checksums decide.
    var writer = unsafe ChunkWriter(
      descriptor: descriptor.number, buffer: buffer.bytes(atLeast: min(length, ScratchBuffer.chunk)),
      offset: end, headerSize: Self.recordHeaderSize)
    for run in runs {
      try unsafe writer.append(run.offset, &record.bodyChecksum, path)
      try unsafe writer.append(run.length, &record.bodyChecksum, path)
    }
    for run in runs {
      try unsafe writer.append(bytes + Int(run.offset), Int(run.length), &record.bodyChecksum, path)
    }
    guard isSound() else { return nil }
    try unsafe writer.finish(header: encode(record), padding: length - total, path)
    end += Int64(length)
    return record
  }

  /// The commit point: every record is durable when this returns.
  internal borrowing func sync() throws(MappingError) {
    guard pgw_storage_sync(descriptor.number, PGW_SYNC_DATA) == 0 else {
      throw .last(.commit, path: path)
    }
  }

  /// Writes the slot of a new epoch. It counts once it is durable, see ``beginEpoch(_:)``.
  internal borrowing func writeNextSlot(generation: UInt64, size: Int64) throws(MappingError) -> Slot {
    let next = Slot(epoch: slot.epoch + 1, generation: generation, size: size)
    try write(next.encoded(seed: seed), at: Self.slotOffsets[Int(next.epoch % 2)], .checkpoint)
    return next
  }

  internal mutating func beginEpoch(generation: UInt64, size: Int64) throws(MappingError) {
    try beginEpoch(writeNextSlot(generation: generation, size: size))
  }

  /// Begins a new epoch, whose slot was written: what the records say is durable in the file itself.
  internal mutating func beginEpoch(_ next: Slot) throws(MappingError) {
    guard pgw_storage_sync(descriptor.number, PGW_SYNC_DATA) == 0 else { throw .last(.checkpoint, path: path) }
    slot = next
    end = Int64(Self.headerSize)
  }

  /// Tells readers which generation the file shows.
  internal borrowing func publish(generation: UInt64, isApplying: Bool) throws(MappingError) {
    var bytes = [UInt8](repeating: 0, count: 8)
    bytes.store((generation << 1 | (isApplying ? 1 : 0)).littleEndian, at: 0)
    // Two calls, so that the order does not hang on how one of them copies.
    try write(bytes, at: Self.stateOffset, .commit)
    try write(bytes, at: Self.stateOffset + 8, .commit)
  }

  /// Makes the file long enough with zeros that are written, not holes: overwriting them later changes no metadata, so that the
  /// sync of a commit has only data to write.
  private mutating func reserve(upTo size: Int64) throws(MappingError) {
    guard size > capacity else { return }
    let wanted = max(size, min(capacity * 2, 16 << 20))
    let zeros = unsafe buffer.zeroed(1 << 16)
    var at = capacity
    while at < wanted {
      let step = Int(min(Int64(zeros.count), wanted - at))
      guard unsafe pgw_storage_write(descriptor.number, zeros.baseAddress!, step, at) == 0 else {
        let error = MappingError.last(.commit, path: path, offset: at, length: Int64(step))
        // Enough for this record is enough.
        if at >= size { break }
        // What was added goes back, so that a full disk is as it was.
        _ = pgw_storage_truncate(descriptor.number, capacity)
        throw error
      }
      at += Int64(step)
    }
    capacity = at
  }

  internal borrowing func write(
    _ bytes: [UInt8], at offset: Int64, _ operation: MappingError.Operation
  ) throws(MappingError) {
    let result = unsafe bytes.withUnsafeBytes {
      unsafe pgw_storage_write(descriptor.number, $0.baseAddress!, $0.count, offset)
    }
    guard result == 0 else { throw .last(operation, path: path, offset: offset, length: Int64(bytes.count)) }
  }

  /// What checksums of this journal begin with.
  internal var seed: UInt32 { Self.checksum(identifier[...], 0) }

  internal static func checksum(_ bytes: ArraySlice<UInt8>, _ seed: UInt32) -> UInt32 {
    unsafe bytes.withUnsafeBytes { unsafe pgw_crc32c(seed, $0.baseAddress, $0.count) }
  }
}

extension Journal.Slot {
  internal static let byteCount = 32

  internal func encoded(seed: UInt32) -> [UInt8] {
    var bytes = [UInt8](repeating: 0, count: Self.byteCount)
    bytes.store(epoch.littleEndian, at: 0)
    bytes.store(generation.littleEndian, at: 8)
    bytes.store(size.littleEndian, at: 16)
    bytes.store(Journal.checksum(bytes[..<24], seed).littleEndian, at: 24)
    return bytes
  }

  internal init?(_ bytes: ArraySlice<UInt8>, seed: UInt32) {
    let at = bytes.startIndex
    guard bytes.count >= Self.byteCount,
      UInt32(littleEndian: bytes.load(at: at + 24)) == Journal.checksum(bytes[at..<at + 24], seed)
    else { return nil }
    epoch = UInt64(littleEndian: bytes.load(at: at))
    generation = UInt64(littleEndian: bytes.load(at: at + 8))
    size = Int64(littleEndian: bytes.load(at: at + 16))
    guard epoch > 0, epoch < Journal.numberLimit, generation < Journal.numberLimit, size >= 0 else { return nil }
  }
}

extension Journal {
  internal static let recordMagic = Array("PGWTXREC".utf8)

  internal borrowing func encode(_ record: Record) -> [UInt8] {
    var bytes = Self.recordMagic + [UInt8](repeating: 0, count: Self.recordHeaderSize - 8)
    bytes.store(slot.epoch.littleEndian, at: 8)
    bytes.store(record.generation.littleEndian, at: 16)
    bytes.store(record.durableGeneration.littleEndian, at: 24)
    bytes.store(record.size.littleEndian, at: 32)
    bytes.store(record.length.littleEndian, at: 40)
    bytes.store(UInt32(record.runCount).littleEndian, at: 48)
    bytes.store(record.bodyChecksum.littleEndian, at: 52)
    bytes.store(Self.checksum(bytes[..<56], seed).littleEndian, at: 56)
    return bytes
  }
}

/// A page-aligned buffer that is kept between commits.
@safe
internal struct ScratchBuffer: ~Copyable {
  internal static let chunk = 1 << 20
  private var bytes = unsafe UnsafeMutableRawBufferPointer(start: nil, count: 0)
  private var zeros = unsafe UnsafeMutableRawBufferPointer(start: nil, count: 0)

  deinit {
    unsafe bytes.deallocate()
    unsafe zeros.deallocate()
  }

  internal mutating func bytes(atLeast count: Int) -> UnsafeMutableRawBufferPointer {
    if unsafe bytes.count < count {
      unsafe bytes.deallocate()
      unsafe bytes = .allocate(byteCount: max(count, 1 << 14), alignment: 4096)
    }
    return unsafe bytes
  }

  internal mutating func zeroed(_ count: Int) -> UnsafeMutableRawBufferPointer {
    if unsafe zeros.count < count {
      unsafe zeros.deallocate()
      unsafe zeros = .allocate(byteCount: count, alignment: 4096)
      _ = unsafe zeros.initializeMemory(as: UInt8.self, repeating: 0)
    }
    return unsafe zeros
  }
}

/// Gathers a record in a buffer and writes it out whenever that is full.
@unsafe
internal struct ChunkWriter {
  private let descriptor: CInt
  private let buffer: UnsafeMutableRawBufferPointer
  private let start: Int64
  private let headerSize: Int
  /// Bytes of the record that the buffer's first byte lies behind the start.
  private var written = 0
  private var used: Int

  internal init(descriptor: CInt, buffer: UnsafeMutableRawBufferPointer, offset: Int64, headerSize: Int) {
    unsafe self.descriptor = descriptor
    unsafe self.buffer = unsafe buffer
    unsafe start = offset
    unsafe self.headerSize = headerSize
    unsafe used = headerSize
    // A header of zeros is no record.
    _ = unsafe buffer[..<headerSize].initializeMemory(as: UInt8.self, repeating: 0)
  }

  internal mutating func append(_ number: UInt64, _ checksum: inout UInt32, _ path: FilePath) throws(MappingError) {
    var number = number.littleEndian
    try unsafe append(&number, 8, &checksum, path)
  }

  internal mutating func append(
    _ bytes: UnsafeRawPointer, _ count: Int, _ checksum: inout UInt32, _ path: FilePath
  ) throws(MappingError) {
    var done = 0
    while done < count {
      if unsafe used == buffer.count { try unsafe flush(path) }
      let step = unsafe min(count - done, buffer.count - used)
      let target = unsafe buffer.baseAddress! + used
      unsafe target.copyMemory(from: bytes + done, byteCount: step)
      // Of the copy: what is checked is what is written.
      checksum = unsafe pgw_crc32c(checksum, target, step)
      unsafe used += step
      done += step
    }
  }

  private mutating func flush(_ path: FilePath) throws(MappingError) {
    let at = unsafe start + Int64(written)
    guard unsafe pgw_storage_write(descriptor, buffer.baseAddress!, used, at) == 0 else {
      throw unsafe .last(.commit, path: path, offset: at, length: Int64(used))
    }
    unsafe written += used
    unsafe used = 0
  }

  internal mutating func finish(header: [UInt8], padding: Int, _ path: FilePath) throws(MappingError) {
    var left = padding
    while left > 0 {
      if unsafe used == buffer.count { try unsafe flush(path) }
      let step = unsafe min(left, buffer.count - used)
      _ = unsafe buffer[used..<used + step].initializeMemory(as: UInt8.self, repeating: 0)
      unsafe used += step
      left -= step
    }
    if unsafe written == 0 {
      unsafe buffer.copyBytes(from: header)
      return try unsafe flush(path)
    }
    try unsafe flush(path)
    let result = unsafe header.withUnsafeBytes {
      unsafe pgw_storage_write(descriptor, $0.baseAddress!, $0.count, start)
    }
    guard result == 0 else { throw unsafe .last(.commit, path: path, offset: start, length: Int64(header.count)) }
  }
}

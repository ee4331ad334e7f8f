// SPDX-License-Identifier: Apache-2.0

internal import CPlatform
internal import SystemPackage

extension Journal {
  /// Every record of the epoch that is whole, in order.
  ///
  /// The first one that is not ends the list: it was being written when the power went, and was not acknowledged. Unless
  /// another one, or the state, proves that it had been durable: then it was damaged later, which must not pass for the end.
  ///
  /// - Throws: `corrupt`, `inputOutput`.
  internal borrowing func scan(state: UInt64?) throws(MappingError) -> [Record] {
    var records: [Record] = []
    var at = Int64(Self.headerSize)
    var expected = slot.generation + 1
    while let record = try record(at: at, generation: expected), try isWhole(record) {
      records.append(record)
      at += record.length
      expected += 1
    }
    if let state, state >> 1 >= expected {
      throw damage(at, "generation \(state >> 1) was applied, and its record is not there")
    }
    if let later = try firstAcknowledging(expected, from: at) {
      throw damage(
        at, "the record of generation \(expected) is damaged: a later one says that it was durable (\(later))")
    }
    return records
  }

  private borrowing func damage(_ offset: Int64, _ why: String) -> MappingError {
    MappingError(.corrupt, operation: .replay, path: path, offset: offset, detail: .note(why))
  }

  /// The record header at an offset if it is one of this epoch; `generation` nil takes any.
  private borrowing func record(at offset: Int64, generation: UInt64?) throws(MappingError) -> Record? {
    guard offset <= capacity - Int64(Self.recordHeaderSize) else { return nil }
    var bytes = [UInt8](repeating: 0, count: Self.recordHeaderSize)
    try read(&bytes, at: offset)
    return parse(bytes[...], at: offset, generation: generation)
  }

  internal borrowing func parse(_ bytes: ArraySlice<UInt8>, at offset: Int64, generation: UInt64?) -> Record? {
    let start = bytes.startIndex
    guard bytes.count >= Self.recordHeaderSize, Array(bytes[start..<start + 8]) == Self.recordMagic,
      UInt64(littleEndian: bytes.load(at: start + 8)) == slot.epoch,
      UInt32(littleEndian: bytes.load(at: start + 56)) == Self.checksum(bytes[start..<start + 56], seed)
    else { return nil }
    let record = Record(
      offset: offset, length: Int64(littleEndian: bytes.load(at: start + 40)),
      generation: UInt64(littleEndian: bytes.load(at: start + 16)),
      durableGeneration: UInt64(littleEndian: bytes.load(at: start + 24)),
      size: Int64(littleEndian: bytes.load(at: start + 32)),
      runCount: Int(UInt32(littleEndian: bytes.load(at: start + 48))),
      bodyChecksum: UInt32(littleEndian: bytes.load(at: start + 52)))
    guard generation == nil || record.generation == generation, record.size >= 0, record.runCount <= Self.runLimit,
      record.length >= Int64(Self.recordHeaderSize + 16 * record.runCount),
      record.length % Int64(Self.recordAlignment) == 0, record.length <= capacity - offset
    else { return nil }
    return record
  }

  /// Reads the body and compares its checksum; also that its runs fit the record and the file.
  private borrowing func isWhole(_ record: Record) throws(MappingError) -> Bool {
    var checksum = seed
    guard let runs = try runs(of: record, checksum: &checksum) else { return false }
    var left: Int64 = 0
    for run in runs { left += Int64(run.length) }
    var at = record.offset + Int64(Self.recordHeaderSize + 16 * runs.count)
    var bytes = [UInt8](repeating: 0, count: Int(min(left, 1 << 20)))
    while left > 0 {
      let step = Int(min(left, Int64(bytes.count)))
      if step < bytes.count { bytes.removeLast(bytes.count - step) }
      try read(&bytes, at: at)
      checksum = Self.checksum(bytes[...], checksum)
      at += Int64(step)
      left -= Int64(step)
    }
    return checksum == record.bodyChecksum
  }

  /// The runs of a record; nil when they cannot be right.
  internal borrowing func runs(of record: Record, checksum: inout UInt32) throws(MappingError) -> [pgw_byte_run]? {
    var bytes = [UInt8](repeating: 0, count: 16 * record.runCount)
    try read(&bytes, at: record.offset + Int64(Self.recordHeaderSize))
    checksum = Self.checksum(bytes[...], checksum)
    var room = UInt64(record.length) - UInt64(Self.recordHeaderSize + bytes.count)
    var end: UInt64 = 0
    var runs: [pgw_byte_run] = []
    runs.reserveCapacity(record.runCount)
    for index in 0..<record.runCount {
      let run = pgw_byte_run(
        offset: UInt64(littleEndian: bytes.load(at: 16 * index)),
        length: UInt64(littleEndian: bytes.load(at: 16 * index + 8)))
      let (runEnd, overflow) = run.offset.addingReportingOverflow(run.length)
      guard !overflow, run.offset >= end, runEnd <= UInt64(record.size), run.length <= room else { return nil }
      room -= run.length
      end = runEnd
      runs.append(run)
    }
    return runs
  }

  /// Looks behind the end for a record of this epoch that was written when `generation` was durable already.
  private borrowing func firstAcknowledging(_ generation: UInt64, from start: Int64) throws(MappingError) -> Int64? {
    var at = start
    var bytes: [UInt8] = []
    while at <= capacity - Int64(Self.recordHeaderSize) {
      let step = Int(min(1 << 16, capacity - at))
      bytes = [UInt8](repeating: 0, count: step)
      try read(&bytes, at: at)
      var inner = 0
      while inner + Self.recordHeaderSize <= step {
        if bytes[inner] == Self.recordMagic[0],
          let record = parse(bytes[inner..<inner + Self.recordHeaderSize], at: at + Int64(inner), generation: nil),
          record.durableGeneration >= generation, try isWhole(record)
        {
          return record.offset
        }
        inner += Self.recordAlignment
      }
      at += Int64(step / Self.recordAlignment * Self.recordAlignment)
      if step < Self.recordAlignment { break }
    }
    return nil
  }

  /// Writes what a record says into the file.
  internal borrowing func replay(_ record: Record, into file: CInt, path filePath: FilePath) throws(MappingError) {
    var ignored: UInt32 = 0
    guard let runs = try runs(of: record, checksum: &ignored) else { throw damage(record.offset, "its runs overlap") }
    var at = record.offset + Int64(Self.recordHeaderSize + 16 * runs.count)
    var bytes: [UInt8] = []
    for run in runs {
      var done: UInt64 = 0
      while done < run.length {
        bytes = [UInt8](repeating: 0, count: Int(min(run.length - done, 1 << 20)))
        try read(&bytes, at: at)
        let target = Int64(run.offset + done)
        let result = unsafe bytes.withUnsafeBytes { unsafe pgw_storage_write(file, $0.baseAddress!, $0.count, target) }
        guard result == 0 else {
          throw .last(.replay, path: filePath, offset: target, length: Int64(bytes.count))
        }
        at += Int64(bytes.count)
        done += UInt64(bytes.count)
      }
    }
  }

  internal borrowing func read(_ bytes: inout [UInt8], at offset: Int64) throws(MappingError) {
    guard !bytes.isEmpty else { return }
    let count = bytes.count
    let got = unsafe bytes.withUnsafeMutableBytes {
      unsafe pgw_storage_read(descriptor.number, $0.baseAddress!, count, offset)
    }
    guard got >= 0 else { throw .last(.replay, path: path, offset: offset, length: Int64(count)) }
    guard got == count else {
      throw MappingError(
        .truncated, operation: .replay, path: path, offset: offset + Int64(got), length: Int64(count - got))
    }
  }
}

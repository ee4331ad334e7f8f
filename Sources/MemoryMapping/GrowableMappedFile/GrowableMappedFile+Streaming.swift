// SPDX-License-Identifier: Apache-2.0

internal import CPlatform
public import SystemPackage

#if canImport(Glibc)
  internal import Glibc
#elseif canImport(Musl)
  internal import Musl
#elseif canImport(Darwin)
  internal import Darwin
#endif

extension GrowableMappedFile {
  /// Appends the records of a stream until it ends: a pipe, a terminal, a socket or a file.
  ///
  /// The stream is read into the file itself, behind what is committed: no buffer holds a record, whatever its length, and no copy
  /// is made. Whole records are committed as they come, those of one read at once, so readers see them without delay and never a
  /// part of one. What was appended stays when it ends early, for whatever reason.
  ///
  /// - Parameters:
  ///   - stream: open for reading; read from where it stands. It may be non-blocking.
  ///   - framing: where records end. A file with a stride takes only `fixed` records of that size.
  ///   - flushEvery: makes everything durable after each so many records; nil leaves that to the caller.
  ///   - isCancelled: asked before each read and at least five times a second while the stream has nothing.
  /// - Returns: how much was appended, and why it ended.
  /// - Throws: ``MappingError``: `invalidLayout` when the framing does not fit the file, `invalidRange` for a size or an interval
  ///   below 1, `wrongState` for a stream that is the file itself, `syncFailed`; nothing was read then. Everything later is in
  ///   ``AppendedRecords/failure``.
  /// - Complexity: a read, a search and a checksum of each byte.
  public mutating func append(
    recordsFrom stream: FileDescriptor, framing: RecordFraming, flushEvery: Int? = nil,
    isCancelled: () -> Bool = { false }
  ) throws(MappingError) -> AppendedRecords {
    try requireSound(.append)
    try check(framing, flushEvery)
    try requireOther(stream)
    var reading = RecordReading(framing: framing, flushEvery: flushEvery)
    do throws(MappingError) {
      while !isCancelled() {
        guard Self.waitForBytes(stream) else { continue }
        guard let got = try fill(from: stream, &reading) else { continue }
        if got == 0 {
          if framing.terminator != nil, reading.pending > 0 { try commitRecords(reading.pending, 1, &reading) }
          return reading.ended(path)
        }
        try commitWhole(got, &reading)
      }
      reading.result.wasCancelled = true
    } catch {
      reading.fail(error)
    }
    reading.result.leftOver = reading.pending
    return reading.result
  }

  private borrowing func check(_ framing: RecordFraming, _ flushEvery: Int?) throws(MappingError) {
    if let flushEvery, flushEvery < 1 {
      throw MappingError(
        .invalidRange, operation: .append, path: path, detail: .note("a flush every \(flushEvery) records"))
    }
    var size = 0
    if case .fixed(let fixed) = framing {
      guard fixed >= 1, fixed <= 1 << 31 else {
        throw MappingError(.invalidRange, operation: .append, path: path, detail: .note("records of \(fixed) bytes"))
      }
      size = fixed
    }
    guard stride <= 1 || size == stride else {
      throw MappingError(
        .invalidLayout, operation: .append, path: path, detail: .note("records of this file have \(stride) bytes"))
    }
  }

  /// A file that is read while it grows by what was read has no end.
  private borrowing func requireOther(_ stream: FileDescriptor) throws(MappingError) {
    var own = pgw_stat()
    var other = pgw_stat()
    guard unsafe pgw_fstat(stream.rawValue, &other) == 0 else { throw MappingError.last(.read) }
    guard unsafe pgw_fstat(range.descriptor, &own) == 0 else { throw .last(.stat, path: path) }
    guard own.device != other.device || own.inode != other.inode else {
      throw MappingError(.wrongState, operation: .append, path: path, detail: .note("the stream is the file itself"))
    }
  }

  /// Waits for a while until there is something to read, or an end, or an error. False: ask whether to go on.
  private static func waitForBytes(_ stream: FileDescriptor) -> Bool {
    var entry = pollfd(fd: stream.rawValue, events: Int16(POLLIN), revents: 0)
    // -1 is a signal, or a descriptor that cannot be waited for: reading says more.
    let count = unsafe poll(&entry, 1, 200)
    return count > 0 || count < 0 && Errno.current != .interrupted
  }

  /// Reads once behind what is committed and pending. Returns 0 at the end of the stream, nil when it has nothing now.
  private mutating func fill(from stream: FileDescriptor, _ reading: inout RecordReading) throws(MappingError) -> Int? {
    let used = reading.pending
    let room = try makeRoom(behind: used, reading.step)
    guard room.size > 0 else { return try endOrNoSpace(stream, used, room.failure) }
    let got = unsafe read(stream.rawValue, start + count + used, room.size)
    if got >= 0 {
      reading.pending += got
      return got
    }
    switch Errno.current {
    case .interrupted, .resourceTemporarilyUnavailable: return nil
    // A page could not be had. No signal and no mark: it was the kernel that stored.
    case .badAddress: throw lost(count + used, room.size)
    default: throw MappingError.last(.read)
    }
  }

  /// Room behind the pending bytes: as much as is wanted, or what a disk that is nearly full still gives.
  private mutating func makeRoom(
    behind used: Int, _ wanted: Int
  ) throws(MappingError) -> (size: Int, failure: MappingError?) {
    let ready = prepared - count - used
    if ready >= min(wanted, RecordReading.leastStep) { return (min(ready, wanted), nil) }
    var step = wanted
    while true {
      let (size, overflow) = used.addingReportingOverflow(step)
      do throws(MappingError) {
        if overflow { throw MappingError(.addressSpaceExhausted, operation: .append, path: path) }
        try reserve(size)
        return (min(prepared - count - used, wanted), nil)
      } catch {
        guard [.noSpace, .limitExceeded, .addressSpaceExhausted].contains(error.code) else { throw error }
        if ready > 0 { return (min(ready, wanted), nil) }
        if step == 1 {
          var error = error
          error.operation = .append
          return (0, error)
        }
        step = max(1, step / 2)
      }
    }
  }

  /// There is no room for one more byte: is there one? Nil when the stream has nothing now.
  private borrowing func endOrNoSpace(
    _ stream: FileDescriptor, _ used: Int, _ failure: MappingError?
  ) throws(MappingError) -> Int? {
    var byte: UInt8 = 0
    let got = unsafe read(stream.rawValue, &byte, 1)
    if got == 0 { return 0 }
    guard got < 0 else { throw failure ?? MappingError(.noSpace, operation: .append, path: path) }
    let error = MappingError.last(.read)
    guard error.errno == .interrupted || error.errno == .resourceTemporarilyUnavailable else { throw error }
    return nil
  }

  /// Commits what is whole of the pending bytes, of which the last `fresh` have just been read.
  private mutating func commitWhole(_ fresh: Int, _ reading: inout RecordReading) throws(MappingError) {
    var searched = reading.pending - fresh
    while true {
      let until = reading.flushEvery.map { $0 - reading.sinceFlush } ?? .max
      let (bytes, records) = whole(reading.pending, from: searched, atMost: until, reading.framing)
      try checkFault(.append)
      guard records > 0 else { return }
      try commitRecords(bytes, records, &reading)
      searched = 0
      if reading.pending == 0 { return }
    }
  }

  /// Whole records at the front of `pending` bytes behind the committed ones: their bytes and their number.
  ///
  /// - Parameter searched: bytes in which no record ends.
  private borrowing func whole(
    _ pending: Int, from searched: Int, atMost most: Int, _ framing: RecordFraming
  ) -> (bytes: Int, records: Int) {
    let first = unsafe start + count
    guard let terminator = framing.terminator else {
      guard case .fixed(let size) = framing else { return (0, 0) }
      let records = min(pending / size, most)
      return (records * size, records)
    }
    if most == .max {
      // All at once: where the last one ends, and how many there are.
      var end = pending
      while end > searched, unsafe first.load(fromByteOffset: end - 1, as: UInt8.self) != terminator { end -= 1 }
      guard end > searched else { return (0, 0) }
      return (end, unsafe pgw_count_byte(first + searched, end - searched, terminator))
    }
    var end = 0
    var records = 0
    var at = searched
    while records < most, at < pending {
      let found = unsafe pgw_find_byte(first + at, pending - at, terminator)
      guard found < pending - at else { break }
      at += found + 1
      end = at
      records += 1
    }
    return (end, records)
  }

  private mutating func commitRecords(
    _ bytes: Int, _ records: Int, _ reading: inout RecordReading
  ) throws(MappingError) {
    let sum = unsafe pgw_crc32c(checksum, start + count, bytes)
    try checkFault(.append)
    try commit(count + bytes, sum)
    reading.pending -= bytes
    reading.result.records += records
    reading.result.bytes += bytes
    reading.sinceFlush += records
    if let every = reading.flushEvery, reading.sinceFlush >= every {
      try flush(.data)
      reading.sinceFlush = 0
      reading.result.flushes += 1
    }
  }
}

/// Where a stream of records stands.
private struct RecordReading {
  /// A read asks for so much: far beyond what a pipe holds.
  let step = 1 << 18
  /// Less room than this, and more is made.
  static let leastStep = 1 << 16
  let framing: RecordFraming
  let flushEvery: Int?
  /// Bytes in the file behind the committed ones that are no whole record yet.
  var pending = 0
  var sinceFlush = 0
  var result = AppendedRecords()

  /// The stream is at its end.
  func ended(_ path: FilePath) -> AppendedRecords {
    var result = result
    result.leftOver = pending
    if pending > 0, case .fixed(let size) = framing {
      result.failure = MappingError(
        .invalidLayout, operation: .append, path: path,
        detail: .note(
          "the stream ended within a record of \(size) bytes: \(pending) of them were left over, and every whole record "
            + "before them was appended: \(result.records)"))
    }
    return result
  }

  /// What was appended before stays, and whoever reads the error shall know.
  mutating func fail(_ error: MappingError) {
    result.failure = error
    if error.detail == nil || error.code == .noSpace {
      result.failure?.detail = .note("\(result.records) records were appended, and none of them is torn")
    }
  }
}

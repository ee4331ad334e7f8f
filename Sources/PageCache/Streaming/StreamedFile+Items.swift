// SPDX-License-Identifier: Apache-2.0

public import MemoryMapping
internal import SystemPackage

extension StreamedFile {
  /// Runs `body` over each line.
  ///
  /// A line ends with LF, or with CR and LF. The last line needs no terminator; an empty file has no lines. A line that lies in
  /// two or more chunks is put together in memory, others are given where they are.
  ///
  /// - Parameters:
  ///   - terminators: whether lines keep the bytes that end them.
  ///   - longest: bytes, the terminator included; a longer line is an error, so that memory stays constant whatever the file holds.
  ///   - isCancelled: as for ``forEachChunk(isCancelled:_:)``.
  ///   - body: gets the line's bytes and its number, from 1. The span cannot leave it.
  /// - Throws: as ``forEachChunk(isCancelled:_:)``; `limitExceeded` with the line's offset for one that is too long.
  /// - Complexity: O(n), a few nanoseconds for a short line.
  @discardableResult
  public borrowing func forEachLine(
    terminators: LineTerminators = .dropped, longest: Int = 16 << 20, isCancelled: () -> Bool = { Task.isCancelled },
    _ body: (RawSpan, Int) throws -> Step
  ) throws -> StreamReport {
    let engine = try StreamEngine(self)
    var carry = StreamBuffer()
    var carried = 0
    var lineStart: Int64 = -1
    func give(_ line: RawSpan) throws -> Bool {
      engine.report.items += 1
      return try body(line, engine.report.items) == .continue
    }
    func tooLong(at offset: Int64) -> MappingError {
      MappingError(
        .limitExceeded, operation: .init("read lines of"), path: engine.path, offset: offset,
        detail: .note("a line has more than \(longest) bytes"))
    }
    return try engine.run {
      while let chunk = try engine.next(isCancelled: isCancelled) {
        let (base, count, offset) = unsafe (chunk.base, chunk.count, chunk.offset)
        var at = 0
        if lineStart < 0 { lineStart = offset }
        if carried > 0 {
          let bytes = unsafe RawSpan(_unsafeStart: base, byteCount: count)
          let found = bytes.find(UInt8(ascii: "\n"))
          let taken = found.map { $0 + 1 } ?? count
          guard taken <= longest - carried else { throw tooLong(at: lineStart) }
          unsafe try carry.append(base, taken, filled: carried, path: engine.path)
          carried += taken
          if found == nil { continue }
          let line = unsafe RawSpan(_unsafeStart: UnsafeRawPointer(carry.base!), byteCount: carried)
          carried = 0
          at = taken
          lineStart = offset + Int64(at)
          if try !give(Self.line(line, terminators)) { return }
        }
        var last = count
        while last > at, unsafe base.load(fromByteOffset: last - 1, as: UInt8.self) != UInt8(ascii: "\n") { last -= 1 }
        if last > at {
          var cursor = unsafe RawSpan(_unsafeStart: base + at, byteCount: last - at).lines(terminators: terminators)
          var before = 0
          while let line = cursor.next() {
            guard cursor.offset - before <= longest else { throw tooLong(at: offset + Int64(at + before)) }
            before = cursor.offset
            if try !give(line) { return }
          }
          at = last
          lineStart = offset + Int64(at)
        }
        guard count - at <= longest else { throw tooLong(at: lineStart) }
        if count > at {
          unsafe try carry.append(base + at, count - at, filled: 0, path: engine.path)
          carried = count - at
        }
      }
      if carried > 0, engine.report.ending == .end {
        let line = unsafe RawSpan(_unsafeStart: UnsafeRawPointer(carry.base!), byteCount: carried)
        _ = try give(line)
      }
    }
  }

  @_lifetime(copy bytes)
  private static func line(_ bytes: RawSpan, _ terminators: LineTerminators) -> RawSpan {
    guard terminators == .dropped else { return bytes }
    let end = bytes.byteCount - 1
    let isReturn = end > 0 && bytes.unsafeLoadByte(end - 1) == UInt8(ascii: "\r")
    return bytes.extracting(0..<(isReturn ? end - 1 : end))
  }

  /// Runs `body` over records of a fixed size.
  ///
  /// - Parameters:
  ///   - size: bytes of a record. The first one begins at ``offset``.
  ///   - isCancelled: as for ``forEachChunk(isCancelled:_:)``.
  ///   - body: gets the record's bytes and its number, from 0. The span cannot leave it.
  /// - Returns: what was done; ``StreamReport/remainder`` has the bytes at the end that are no whole record.
  /// - Throws: as ``forEachChunk(isCancelled:_:)``; `invalidRange` for a size below 1.
  @discardableResult
  public borrowing func forEachRecord(
    bytes size: Int, isCancelled: () -> Bool = { Task.isCancelled }, _ body: (RawSpan, Int) throws -> Step
  ) throws -> StreamReport {
    guard size > 0 else {
      throw MappingError(
        .invalidRange, operation: .read, path: path, length: Int64(size), detail: .note("a record has bytes"))
    }
    let engine = try StreamEngine(self)
    var carry = StreamBuffer()
    var carried = 0
    func give(_ record: RawSpan) throws -> Bool {
      engine.report.items += 1
      return try body(record, engine.report.items - 1) == .continue
    }
    var report = try engine.run {
      while let chunk = try engine.next(isCancelled: isCancelled) {
        let (base, count) = unsafe (chunk.base, chunk.count)
        var at = 0
        if carried > 0 {
          at = min(size - carried, count)
          unsafe try carry.append(base, at, filled: carried, path: engine.path)
          carried += at
          if carried < size { continue }
          carried = 0
          let record = unsafe RawSpan(_unsafeStart: UnsafeRawPointer(carry.base!), byteCount: size)
          if try !give(record) { return }
        }
        while count - at >= size {
          let record = unsafe RawSpan(_unsafeStart: base + at, byteCount: size)
          at += size
          if try !give(record) { return }
        }
        if count > at {
          unsafe try carry.append(base + at, count - at, filled: 0, path: engine.path)
          carried = count - at
        }
      }
    }
    report.remainder = carried
    return report
  }
}

extension RawSpan {
  fileprivate func unsafeLoadByte(_ offset: Int) -> UInt8 { unsafe unsafeLoad(fromByteOffset: offset, as: UInt8.self) }
}

// SPDX-License-Identifier: Apache-2.0

import MemoryMapping
import SystemPackage
import _CTestSupport

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#endif

/// Every way to read, as one value, so that the same scene can be played for all of them.
enum ReadingLevel: String, CaseIterable, Sendable {
  case copyPages, copySize, copyStamp, loads
  case scopePages, scopeSize, scopeStamp, throwingScope
  case unchecked, lines, chunks, records, search
  case probe

  /// What the level proves on top of "no page was lost".
  var check: FaultCheck {
    switch self {
    case .copySize, .copyStamp, .loads: self == .copyStamp ? .stamp : .size
    case .scopeSize, .probe: .size
    // A cursor that reaches its end compares the size; the records below stop before it.
    case .lines, .chunks, .search: .size
    case .scopeStamp: .stamp
    default: .pages
    }
  }

  /// Levels that read a lost mapping's remaining bytes through the file.
  var isCopy: Bool {
    switch self {
    case .copyPages, .copySize, .copyStamp, .loads: true
    default: false
    }
  }
}

extension MappedFile {
  /// Reads `range` of the view at a level. The bytes as the level gave them, or its error.
  ///
  /// - Parameter meanwhile: runs when the scope has begun and nothing was read; only for levels with a scope.
  borrowing func read(
    _ range: Range<Int>, at level: ReadingLevel, meanwhile: () -> Void = {}
  ) throws(MappingError) -> [UInt8] {
    var bytes = [UInt8](repeating: 0xEE, count: range.count)
    var failure: MappingError? = nil
    bytes.withUnsafeMutableBytes { buffer in
      do throws(MappingError) { try read(range, at: level, into: buffer, meanwhile: meanwhile) } catch {
        failure = error
      }
    }
    if let failure { throw failure }
    return bytes
  }

  private borrowing func read(
    _ range: Range<Int>, at level: ReadingLevel, into buffer: UnsafeMutableRawBufferPointer, meanwhile: () -> Void
  ) throws(MappingError) {
    func take(_ span: RawSpan, _ position: Int) {
      span.withUnsafeBytes { _ = memcpy(buffer.baseAddress! + position, $0.baseAddress!, $0.count) }
    }
    switch level {
    case .copyPages, .copySize, .copyStamp: try copy(range, into: buffer, check: level.check)
    case .loads:
      // Words and a rest, as a parser would. Of much the front in larger pieces: unspecialized, each call asks the runtime for a type under a
      // lock, and eight threads that do so for each word of a mebibyte took minutes.
      var at = 0
      while range.count - at > 16_384 {
        let piece = try load(at: range.lowerBound + at, as: InlineArray<64, UInt64>.self)
        buffer.storeBytes(of: piece, toByteOffset: at, as: InlineArray<64, UInt64>.self)
        at += 512
      }
      while at + 8 <= range.count {
        let word = try load(at: range.lowerBound + at, as: UInt64.self)
        buffer.storeBytes(of: word, toByteOffset: at, as: UInt64.self)
        at += 8
      }
      while at < range.count {
        buffer[at] = try load(at: range.lowerBound + at, as: UInt8.self)
        at += 1
      }
    case .scopePages, .scopeSize, .scopeStamp:
      try withBytes(range, check: level.check) { (span: RawSpan) -> Void in
        meanwhile()
        take(span, 0)
      }
    case .throwingScope:
      do {
        try withBytes(range) { (span: RawSpan) throws -> Void in
          meanwhile()
          take(span, 0)
          if span.byteCount < 0 { throw Errno.invalidArgument }
        }
      } catch {
        throw error as! MappingError
      }
    case .unchecked:
      meanwhile()
      take(bytes.extracting(range), 0)
      try checkFault()
    case .chunks:
      meanwhile()
      var cursor = chunks(of: 1000)
      var at = 0
      while let chunk = try cursor.next() {
        overlap(chunk, at: at, range, take)
        at += chunk.byteCount
      }
    case .records:
      meanwhile()
      do {
        var cursor = try records(stride: 1)
        var at = 0
        while let record = try cursor.next() {
          if range.contains(at) { take(record, at - range.lowerBound) }
          at += 1
          if at == range.upperBound { break }
        }
      } catch { throw error as! MappingError }
      try checkFault()
    case .lines:
      meanwhile()
      var cursor = lines(terminators: .kept)
      var at = 0
      while let line = try cursor.next() {
        overlap(line, at: at, range, take)
        at += line.byteCount
      }
    case .search:
      meanwhile()
      // No byte of the pattern is 0: a zero that is found was made up or stands in a hole.
      var cursor = matches(of: [0])
      take(bytes.extracting(range), 0)
      // A hole of a mebibyte matches everywhere: of those some are enough, see `loads`.
      var found = 0
      while found < 10_000, try cursor.next() != nil { found += 1 }
      try checkFault()
    case .probe:
      meanwhile()
      try probe(range)
      try copy(range, into: buffer, check: .pages)
    }
  }

  private borrowing func overlap(
    _ piece: RawSpan, at position: Int, _ range: Range<Int>, _ store: (RawSpan, Int) -> Void
  ) {
    let part = (position..<position + piece.byteCount).clamped(to: range)
    if !part.isEmpty {
      store(
        piece.extracting(part.lowerBound - position..<part.upperBound - position), part.lowerBound - range.lowerBound)
    }
  }
}

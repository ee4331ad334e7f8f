// SPDX-License-Identifier: Apache-2.0

internal import SystemPackage

#if canImport(Glibc)
  internal import Glibc
#elseif canImport(Musl)
  internal import Musl
#elseif canImport(Darwin)
  internal import Darwin
#endif

/// How records stand in a stream of bytes.
enum Framing {
  /// Each ends with a line feed, which is no part of it; the last one may lack it.
  case lines
  /// Each follows its length, 4 bytes, the lowest first.
  case framed

  static let lengthSize = 4
}

/// The records on standard input, one after the other.
struct RecordInput: ~Copyable {
  enum Failure: Error {
    /// A record has more bytes than one may have.
    case tooLong(record: Int, byteCount: Int?)
    /// The input ended within a record.
    case cut(record: Int, got: Int, of: Int)
    case unreadable(Errno)
    case interrupted
  }

  private let framing: Framing
  private let limit: Int
  /// What was read and not taken: `buffer[start..<end]`.
  private var buffer: [UInt8]
  private var start = 0
  private var end = 0
  /// Up to where there is no line feed.
  private var searched = 0
  private var isAtEnd = false
  /// How many records were found.
  private(set) var count = 0

  /// - Parameter limit: bytes of the longest record.
  init(_ framing: Framing, limit: Int) {
    self.framing = framing
    self.limit = limit
    buffer = [UInt8](repeating: 0, count: 64 << 10)
  }

  /// Hands the next record to `body`, waiting for it.
  ///
  /// - Parameter body: the span cannot leave it.
  /// - Returns: false at the end of the input.
  /// - Throws: `Failure`, or what `body` throws.
  mutating func next(_ body: (RawSpan) throws -> Void) throws -> Bool {
    guard let range = try framing == .lines ? line() : frame() else { return false }
    count += 1
    unsafe try body(buffer.span.bytes.extracting(range))
    return true
  }

  private mutating func line() throws -> Range<Int>? {
    while true {
      if let feed = unsafe buffer.withUnsafeBytes({ bytes -> Int? in
        let from = unsafe bytes.baseAddress! + searched
        guard let found = unsafe memchr(from, 10, end - searched) else { return nil }
        return unsafe UnsafeRawPointer(found) - bytes.baseAddress!
      }) {
        let range = start..<feed
        start = feed + 1
        searched = start
        guard range.count <= limit else { throw Failure.tooLong(record: count + 1, byteCount: range.count) }
        return range
      }
      searched = end
      guard end - start <= limit else { throw Failure.tooLong(record: count + 1, byteCount: nil) }
      if try !fill() {
        guard start < end else { return nil }
        defer { start = end }
        return start..<end
      }
    }
  }

  private mutating func frame() throws -> Range<Int>? {
    while end - start < Framing.lengthSize {
      if try !fill() {
        if start == end { return nil }
        throw Failure.cut(record: count + 1, got: end - start, of: Framing.lengthSize)
      }
    }
    var length = 0
    for index in 0..<Framing.lengthSize { length |= Int(buffer[start + index]) << (index * 8) }
    guard length <= limit else { throw Failure.tooLong(record: count + 1, byteCount: length) }
    while end - start < Framing.lengthSize + length {
      if try !fill() {
        throw Failure.cut(record: count + 1, got: end - start - Framing.lengthSize, of: length)
      }
    }
    let range = start + Framing.lengthSize..<start + Framing.lengthSize + length
    start = range.upperBound
    return range
  }

  /// Reads more behind `end`. False at the end of the input.
  private mutating func fill() throws(Failure) -> Bool {
    if isAtEnd { return false }
    if start == end {
      (start, end, searched) = (0, 0, 0)
    } else if end == buffer.count {
      if start > 0 {
        unsafe buffer.withUnsafeMutableBytes { bytes in
          _ = unsafe memmove(bytes.baseAddress!, bytes.baseAddress! + start, end - start)
        }
        (end, searched, start) = (end - start, searched - start, 0)
      }
      if end > buffer.count / 2 { buffer += [UInt8](repeating: 0, count: buffer.count) }
    }
    while true {
      if Interruption.isRequested { throw .interrupted }
      // Waiting happens here, where a signal ends it at the latest after a tenth of a second.
      var request = pollfd(fd: STDIN_FILENO, events: Int16(POLLIN), revents: 0)
      let ready = unsafe poll(&request, 1, 100)
      if ready == 0 || ready < 0 && Errno(rawValue: errno) == .interrupted { continue }
      let got = unsafe buffer.withUnsafeMutableBytes { bytes in
        unsafe read(STDIN_FILENO, bytes.baseAddress! + end, bytes.count - end)
      }
      if got > 0 {
        end += got
        return true
      }
      if got == 0 {
        isAtEnd = true
        return false
      }
      switch Errno(rawValue: errno) {
      case .interrupted, .resourceTemporarilyUnavailable: continue
      case let reason: throw .unreadable(reason)
      }
    }
  }
}

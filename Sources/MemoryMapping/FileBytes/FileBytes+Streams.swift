// SPDX-License-Identifier: Apache-2.0

internal import CPlatform
internal import Synchronization
internal import SystemPackage

#if canImport(Glibc)
  internal import Glibc
#elseif canImport(Musl)
  internal import Musl
#elseif canImport(Darwin)
  internal import Darwin
#endif

extension FileBytes {
  /// The collected bytes of a pipe as one span.
  internal static func withCollected<R>(
    _ stream: StreamSource, _ bounds: Range<Int64>?, _ body: (RawSpan) throws -> R
  ) throws -> R {
    try stream.withState { state in
      try stream.collect(&state)
      let range = bounds ?? 0..<Int64(state.count)
      guard range.lowerBound >= 0, range.upperBound <= Int64(state.count) else {
        throw MappingError(
          .invalidRange, operation: .read, path: stream.path, offset: range.lowerBound,
          length: range.upperBound.subtractingReportingOverflow(range.lowerBound).partialValue,
          detail: .fileSize(Int64(state.count)))
      }
      guard let base = unsafe state.buffer.base, !range.isEmpty else { return try body(RawSpan()) }
      return try body(unsafe RawSpan(_unsafeStart: base + Int(range.lowerBound), byteCount: range.count))
    }
  }

  /// Passes a pipe's bytes on as they come; after ``withCollected(_:_:_:)`` the collected ones.
  internal mutating func passOn(
    _ stream: StreamSource, _ pieceSize: Int, _ body: (RawSpan, Int64) throws -> Void
  ) throws {
    try stream.withState { state in
      var at = 0
      while at < state.count {
        let length = min(pieceSize, state.count - at)
        try body(unsafe RawSpan(_unsafeStart: state.buffer.base! + at, byteCount: length), Int64(at))
        at += length
      }
      if state.isAtEnd { return }
      let room = min(pieceSize, CostModel.streamPiece)
      state.isConsumed = true
      state.count = 0
      try state.buffer.reserve(room, path: stream.path)
      while true {
        let got = unsafe try stream.readSome(&state, into: state.buffer.base!, count: room)
        if got == 0 { break }
        let start = state.position
        state.position += Int64(got)
        if state.position > stream.limit { throw stream.limitError(state) }
        try body(unsafe RawSpan(_unsafeStart: state.buffer.base!, byteCount: got), start)
      }
      state.isAtEnd = true
    }
  }

  /// Runs `body` over each line, without its line feed and the carriage return before it.
  ///
  /// A last line without a line feed counts; an empty file has no lines. Lines of any length: one that does not fit into a piece
  /// is put together in memory.
  ///
  /// - Parameter body: gets the line's bytes and the offset of its first byte. The span cannot leave it.
  /// - Throws: as ``forEachChunk(of:_:)``; `limitExceeded` for a line above ``Options/maximumByteCount``.
  /// - Complexity: O(n), at the speed of `memchr`.
  public mutating func forEachLine(_ body: (RawSpan, Int64) throws -> Void) throws {
    var partial = ReadBuffer()
    var partialCount = 0
    var lineStart: Int64 = 0
    let path = self.path
    try forEachChunk { chunk, offset in
      try unsafe chunk.withUnsafeBytes { bytes in
        guard let base = bytes.baseAddress else { return }
        var at = 0
        while at < bytes.count {
          let found = unsafe memchr(base + at, 0x0A, bytes.count - at).map { unsafe UnsafeRawPointer($0) - base }
          let end = found ?? bytes.count
          if partialCount > 0 || found == nil {
            // The line began in an earlier piece, or goes on in the next.
            let needed = partialCount + (end - at)
            try partial.reserve(
              max(needed, partial.capacity, needed > partial.capacity ? needed &* 2 : 0), keeping: partialCount,
              path: path)
            unsafe (partial.base! + partialCount).copyMemory(from: base + at, byteCount: end - at)
            partialCount = needed
            guard found != nil else { return }
            try unsafe Self.line(partial.base!, partialCount, lineStart, body)
            partialCount = 0
          } else {
            try unsafe Self.line(base + at, end - at, lineStart, body)
          }
          at = end + 1
          lineStart = offset + Int64(at)
        }
      }
    }
    if partialCount > 0 { try unsafe Self.line(partial.base!, partialCount, lineStart, body) }
  }

  private static func line(
    _ start: UnsafeRawPointer, _ count: Int, _ offset: Int64, _ body: (RawSpan, Int64) throws -> Void
  ) throws {
    let isReturn = unsafe count > 0 && start.load(fromByteOffset: count - 1, as: UInt8.self) == 0x0D
    try body(unsafe RawSpan(_unsafeStart: start, byteCount: isReturn ? count - 1 : count), offset)
  }
}

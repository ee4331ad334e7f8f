// SPDX-License-Identifier: Apache-2.0

internal import CPlatform
internal import SystemPackage

extension FileBytes {
  /// Runs `body` over a range of the file, or all of it, as one span.
  ///
  /// Mapped, the span is the page cache itself, in a guarded scope: when the file is cut meanwhile the call throws at the end
  /// instead of returning the result. Else the range is read into a buffer that the value keeps.
  ///
  /// - Parameters:
  ///   - bounds: in bytes from the start of the file; nil for all of it.
  ///   - body: must not suspend. The span cannot leave it.
  /// - Throws: ``MappingError``: `invalidRange` for bounds outside the file, `truncated`, `inputOutput`, `memoryExhausted`; for a
  ///   pipe `limitExceeded`.
  /// - Complexity: O(1) beside the body when mapped, else O(n) for the read.
  public mutating func withBytes<R>(
    _ bounds: Range<Int64>? = nil, _ body: (RawSpan) throws -> R
  ) throws -> R {
    if let stream = stream { return try Self.withCollected(stream, bounds, body) }
    let range = bounds ?? 0..<size
    guard range.lowerBound >= 0, range.upperBound <= size,
      let length = Int(exactly: range.upperBound - range.lowerBound)
    else { throw rangeError(range.lowerBound, range.upperBound &- range.lowerBound) }
    if length == 0 { return try body(RawSpan()) }

    try prepareWhole(wants: length)
    if isBuffered {
      return try body(unsafe RawSpan(_unsafeStart: buffer.base! + Int(range.lowerBound), byteCount: length))
    }
    let lower = Int(range.lowerBound)
    let check = options.check
    var outcome: Result<R, any Error>? = nil
    _ = try late.withMapping { map throws(MappingError) in
      do {
        outcome = .success(try map.withBytes(lower..<lower + length, check: check, body))
      } catch {
        outcome = .failure(error)
      }
    }
    if let outcome { return try outcome.get() }
    try buffer.reserve(length, path: path)
    unsafe try readFully(range.lowerBound, length, buffer.base!)
    return try body(unsafe RawSpan(_unsafeStart: buffer.base!, byteCount: length))
  }

  /// Runs `body` over the whole file in pieces, from the start to the end.
  ///
  /// - Parameters:
  ///   - pieceSize: bytes of a piece; only the last is smaller. The default suits a CPU's second-level cache. For a pipe it is
  ///     the most, since what has arrived is passed on.
  ///   - body: gets the piece and its offset in the file. The span cannot leave it. What it throws ends the pass.
  /// - Throws: as ``withBytes(_:_:)``. When a piece may hold made-up bytes its error follows that piece's call.
  /// - Complexity: O(n), constant memory unless the whole file is buffered already.
  public mutating func forEachChunk(
    of pieceSize: Int = 256 << 10, _ body: (RawSpan, Int64) throws -> Void
  ) throws {
    let pieceSize = max(1, pieceSize)
    if let stream = stream { return try passOn(stream, pieceSize, body) }
    guard size > 0 else { return }
    if plan.strategy == .read, access.scattered == nil, !late.isMapped { try fillBuffer() }
    if isBuffered {
      var at = 0
      let total = Int(size)
      while at < total {
        let length = min(pieceSize, total - at)
        try body(unsafe RawSpan(_unsafeStart: buffer.base! + at, byteCount: length), Int64(at))
        at += length
      }
      return
    }
    var failure: (any Error)? = nil
    let total = size
    let check = options.check
    let isMapped: Void? = try late.withMapping { map throws(MappingError) in
      do {
        let before = try map.stampBefore(check)
        var at = 0
        while at < map.count {
          let end = min(at &+ pieceSize, map.count)
          try map.withBytes(at..<end) { span in try body(span, Int64(at)) }
          at = end
        }
        // A cut inside a page shows as zeros without a fault: one question at the end finds it.
        try map.prove(check, since: before, upTo: map.count, .read)
      } catch { failure = error }
    }
    if let failure { throw failure }
    if isMapped != nil { return }
    try streamFile(total, pieceSize, body)
  }

  /// One buffer, filled again and again; pieces are cut from it.
  private mutating func streamFile(
    _ total: Int64, _ pieceSize: Int, _ body: (RawSpan, Int64) throws -> Void
  ) throws {
    // Small pieces share a read; large ones are read as they are.
    let fill = pieceSize >= CostModel.streamPiece ? pieceSize : CostModel.streamPiece / pieceSize * pieceSize
    let room = Int(min(Int64(fill), total))
    try buffer.reserve(room, path: path)
    var at: Int64 = 0
    while at < total {
      let length = Int(min(Int64(room), total - at))
      unsafe try readFully(at, length, buffer.base!)
      var start = 0
      while start < length {
        let piece = min(pieceSize, length - start)
        try body(unsafe RawSpan(_unsafeStart: buffer.base! + start, byteCount: piece), at + Int64(start))
        start += piece
      }
      at += Int64(length)
    }
  }

  /// Before a scope over the bytes: the buffer that the plan asks for, or a mapping where a streamed file is wanted in one.
  private mutating func prepareWhole(wants length: Int) throws(MappingError) {
    guard !isBuffered, !late.isMapped, access.scattered == nil else { return }
    let wantsAll = Int64(length) > size / 2
    if plan.strategy == .read, wantsAll || size <= CostModel.keptBuffer { return try fillBuffer() }
    // Chosen for pieces, asked for as one: a mapping needs no memory of its own.
    guard plan.strategy == .stream, plan.reason != .asked, wantsAll, size > CostModel.keptBuffer else { return }
    guard facts.fileSystem?.prefersReading != true, plan.reason != .noAddressSpace else { return }
    if let map = try? map() {
      plan.strategy = .map
      late.publish(map)
    }
  }
}

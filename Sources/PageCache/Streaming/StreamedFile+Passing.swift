// SPDX-License-Identifier: Apache-2.0

internal import CPlatform
public import MemoryMapping
internal import SystemPackage

extension StreamedFile {
  /// Runs `body` over the bytes, chunk by chunk, each once and in order.
  ///
  /// - Parameters:
  ///   - isCancelled: asked before each chunk, and ten times a second while a pipe has nothing to say. Task cancellation if not
  ///     given.
  ///   - body: gets the bytes and the offset of the first of them in the file or stream. The span cannot leave it. Must not suspend.
  /// - Returns: what was done, also after a stop or a cancellation.
  /// - Throws: `MappingError`: `truncated` when the file was cut, `inputOutput`, `memoryExhausted`, `invalidRange` for
  ///   a stream that ends before ``offset``; and what the body throws.
  /// - Complexity: O(n) in constant memory; nothing is allocated for a chunk.
  @discardableResult
  public borrowing func forEachChunk(
    isCancelled: () -> Bool = { Task.isCancelled }, _ body: (RawSpan, Int64) throws -> Step
  ) throws -> StreamReport {
    let engine = try StreamEngine(self)
    return try engine.run {
      while let chunk = try engine.next(isCancelled: isCancelled) {
        // The engine keeps the bytes until its next call.
        let step = unsafe try body(RawSpan(_unsafeStart: chunk.base, byteCount: chunk.count), chunk.offset)
        if step == .stop { return }
      }
    }
  }

  /// The CRC32C of the bytes, as iSCSI, ext4 and `pagewise stream --sum crc32c` have it.
  ///
  /// - Parameter isCancelled: as for ``forEachChunk(isCancelled:_:)``; the sum is then that of the bytes in the report.
  /// - Throws: as ``forEachChunk(isCancelled:_:)``.
  public borrowing func crc32c(
    isCancelled: () -> Bool = { Task.isCancelled }
  ) throws(MappingError) -> (sum: UInt32, report: StreamReport) {
    let engine = try StreamEngine(self)
    var sum: UInt32 = 0
    while let chunk = try engine.next(isCancelled: isCancelled) {
      sum = unsafe pgw_crc32c(sum, chunk.base, chunk.count)
    }
    return (sum, engine.report)
  }

  /// A pass to go through by hand, with errors of one type.
  ///
  /// ```swift
  /// var pass = try file.pass()
  /// while let chunk = try pass.next() { hash.update(chunk.bytes) }
  /// let report = try pass.finish()
  /// ```
  ///
  /// - Throws: `MappingError`: `tooManyOpenFiles`.
  public borrowing func pass() throws(MappingError) -> StreamPass { StreamPass(try StreamEngine(self)) }
}

extension StreamEngine {
  /// Runs a loop over the chunks, and ends the pass with it.
  internal func run(_ loop: () throws -> Void) throws -> StreamReport {
    do { try loop() } catch {
      // A lost page wins over the error of a body that may have seen made-up bytes.
      try stop()
      throw error
    }
    try stop()
    return report
  }

  /// The caller has enough, or everything.
  internal func stop() throws(MappingError) {
    guard !isOver else { return }
    let isAtEnd = position >= end
    defer { finish(isAtEnd ? .end : .stopped) }
    try prove()
  }
}

/// A pass over a ``StreamedFile`` that the caller moves on.
public struct StreamPass: ~Copyable {
  private let engine: StreamEngine

  internal init(_ engine: StreamEngine) { self.engine = engine }

  /// The next bytes, or nil after the last. They cannot be used any more once the pass is moved on.
  ///
  /// - Parameter isCancelled: as for ``StreamedFile/forEachChunk(isCancelled:_:)``; the pass is at its end then.
  /// - Throws: `MappingError`: `truncated`, `inputOutput`, `memoryExhausted`. The pass is at its end then.
  @_lifetime(&self)
  public mutating func next(
    isCancelled: () -> Bool = { Task.isCancelled }
  ) throws(MappingError) -> StreamChunk? {
    guard let chunk = try engine.next(isCancelled: isCancelled) else { return nil }
    let bytes = unsafe RawSpan(_unsafeStart: chunk.base, byteCount: chunk.count)
    // The engine keeps the bytes until its next call, which needs the pass, or its end, which takes it.
    return unsafe _overrideLifetime(StreamChunk(bytes: bytes, offset: chunk.offset), mutating: &self)
  }

  /// Ends the pass, here or before the end of the file, drops what it brought in, and tells what it did. The end of the scope
  /// does the same silently.
  ///
  /// - Throws: `MappingError` when the last bytes were not the file's.
  public consuming func finish() throws(MappingError) -> StreamReport {
    try engine.stop()
    return engine.report
  }
}

/// Bytes of a ``StreamPass``.
public struct StreamChunk: ~Escapable {
  /// Never none.
  public let bytes: RawSpan
  /// Of the first of them, in the file or stream.
  public let offset: Int64

  @_lifetime(copy bytes)
  internal init(bytes: RawSpan, offset: Int64) {
    self.bytes = bytes
    self.offset = offset
  }
}

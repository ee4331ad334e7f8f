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

/// Bytes that come once and in order: a pipe, a FIFO, standard input, a file of /proc.
///
/// Passed on piece by piece, or collected up to a limit when somebody wants to go back in them.
internal final class StreamSource: @unchecked Sendable {
  internal let descriptor: CInt
  internal let path: FilePath?
  internal let isFIFO: Bool
  internal let limit: Int64
  internal let writerTimeout: Int
  private let lock = Mutex(())
  /// Touched in ``withState(_:)`` only. Not inside the mutex, whose region rules forbid to copy from it into the caller's
  /// memory.
  private var state = State()

  @safe
  internal struct State: ~Copyable {
    internal var buffer = ReadBuffer()
    /// Bytes in the buffer, from the start of the stream; complete once `isAtEnd`.
    internal var count = 0
    /// Bytes taken from the descriptor.
    internal var position: Int64 = 0
    internal var isAtEnd = false
    internal var hasSeenWriter = false
    /// Pieces were passed on and not kept: the start is gone.
    internal var isConsumed = false
  }

  /// The descriptor stays the caller's to close.
  internal init(_ descriptor: CInt, path: FilePath?, isFIFO: Bool, limit: Int64, writerTimeout: Int) {
    self.descriptor = descriptor
    self.path = path
    self.isFIFO = isFIFO
    self.limit = limit
    self.writerTimeout = writerTimeout
  }

  internal func withState<R, E: Error>(_ body: (inout State) throws(E) -> R) throws(E) -> R {
    // The outcome goes around the lock, whose own result would have to be sendable.
    var outcome: Result<R, E>? = nil
    lock.withLock { _ in
      do throws(E) { outcome = .success(try body(&state)) } catch { outcome = .failure(error) }
    }
    return try outcome!.get()
  }

  /// One read: waits for bytes or the end. 0 is the end.
  internal func readSome(
    _ state: inout State, into base: UnsafeMutableRawPointer, count: Int
  ) throws(MappingError) -> Int {
    while true {
      let got = unsafe read(descriptor, base, count)
      if got > 0 {
        state.hasSeenWriter = true
        return got
      }
      if got == 0 {
        // A FIFO that nobody has opened for writing yet looks like one at its end.
        if isFIFO, !state.hasSeenWriter {
          guard try wait(milliseconds: writerTimeout, state.position) else {
            throw MappingError(
              .other, operation: .read, path: path,
              detail: .note("nobody opened the FIFO for writing within \(writerTimeout) ms"))
          }
          state.hasSeenWriter = true
          continue
        }
        return 0
      }
      switch Errno.current {
      case .interrupted: continue
      case .resourceTemporarilyUnavailable, .wouldBlock:
        state.hasSeenWriter = true
        _ = try wait(milliseconds: -1, state.position)
      default: throw .last(.read, path: path, offset: state.position)
      }
    }
  }

  /// True when the descriptor has something to say; false after the time given.
  private func wait(milliseconds: Int, _ position: Int64) throws(MappingError) -> Bool {
    var request = pollfd(fd: descriptor, events: Int16(POLLIN), revents: 0)
    let start = pgw_now_ns()
    var rest = milliseconds
    while true {
      let found = unsafe poll(&request, 1, CInt(clamping: rest))
      if found != 0 {
        guard found < 0 else { return true }
        guard Errno.current == .interrupted else { throw .last(.read, path: path, offset: position) }
      } else {
        return false
      }
      if milliseconds >= 0 { rest = max(0, milliseconds - Int((pgw_now_ns() - start) / 1_000_000)) }
    }
  }

  /// Collects everything. A second call does nothing.
  internal func collect(_ state: inout State) throws(MappingError) {
    if state.isConsumed {
      throw MappingError(
        .notSupported, operation: .read, path: path,
        detail: .note("the stream was read in pieces already and cannot be read again"))
    }
    while !state.isAtEnd {
      if state.count == state.buffer.capacity {
        let (doubled, overflow) = max(state.count, 32 << 10).multipliedReportingOverflow(by: 2)
        guard !overflow else { throw limitError(state) }
        try state.buffer.reserve(doubled, keeping: state.count, path: path)
      }
      let got = unsafe try readSome(
        &state, into: state.buffer.base! + state.count, count: state.buffer.capacity - state.count)
      if got == 0 {
        state.isAtEnd = true
        break
      }
      state.count += got
      state.position += Int64(got)
      if state.position > limit { throw limitError(state) }
    }
  }

  internal func limitError(_ state: borrowing State) -> MappingError {
    MappingError(
      .limitExceeded, operation: .read, path: path, offset: state.position, detail: .limit(limit))
  }

  /// Copies from the collected bytes; fewer than wanted at the end.
  internal func copy(at offset: Int64, into target: UnsafeMutableRawBufferPointer) throws(MappingError) -> Int {
    var failure: MappingError? = nil
    let copied = withState { state in
      do throws(MappingError) { try collect(&state) } catch {
        failure = error
        return 0
      }
      guard let base = unsafe state.buffer.base, offset < Int64(state.count) else { return 0 }
      let length = min(target.count, state.count - Int(offset))
      if length > 0 { unsafe target.baseAddress!.copyMemory(from: base + Int(offset), byteCount: length) }
      return length
    }
    if let failure { throw failure }
    return copied
  }

  /// Bytes of the whole stream once its end was seen.
  internal var knownCount: Int64? { withState { $0.isAtEnd ? $0.position : nil } }
}

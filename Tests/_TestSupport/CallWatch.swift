// SPDX-License-Identifier: Apache-2.0

internal import CPlatform
public import SystemPackage

/// Sees every call by which the library opens, changes, syncs or names a file, on the thread that runs the body, and may make
/// it fail. See `pgw_storage.h`.
public final class CallWatch {
  public enum Kind: UInt32, Sendable, Hashable, CaseIterable {
    case open = 1
    case read, write, truncate, allocate, punch, syncData, syncFile, syncRange, writeback, rename, unlink
    case syncFolder, lock, map, populate, stat, attributes
  }

  public struct Call {
    public let kind: Kind
    public let descriptor: CInt
    /// Of a truncation: the new size.
    public let offset: Int64
    public let length: Int
    /// What a write writes; the address of a range.
    public let bytes: UnsafeRawPointer?
    public let path: String?
    public let other: String?

    init(_ call: pgw_call) {
      kind = Kind(rawValue: UInt32(call.kind.rawValue))!
      descriptor = call.descriptor
      offset = call.offset
      length = Int(call.length)
      bytes = call.bytes
      path = call.path.map { String(cString: $0) }
      other = call.other.map { String(cString: $0) }
    }

    /// The bytes of a write.
    public var content: [UInt8] { bytes.map { Array(UnsafeRawBufferPointer(start: $0, count: length)) } ?? [] }
  }

  public enum Answer {
    /// Do it.
    case perform
    /// Do nothing and report success: a call that was forgotten.
    case pretend
    /// Transfer half.
    case short
    case fail(Errno)
  }

  private let before: (Call) -> Answer
  private let after: (Call, Int64) -> Void

  public init(
    before: @escaping (Call) -> Answer = { _ in .perform }, after: @escaping (Call, Int64) -> Void = { _, _ in }
  ) {
    self.before = before
    self.after = after
  }

  /// Runs `body` with this thread's calls watched.
  public func run<R>(_ body: () throws -> R) rethrows -> R {
    var watch = pgw_call_watch()
    watch.context = Unmanaged.passUnretained(self).toOpaque()
    watch.before = { context, call in
      let own = Unmanaged<CallWatch>.fromOpaque(context!).takeUnretainedValue()
      switch own.before(Call(call!.pointee)) {
      case .perform: return CInt(PGW_PERFORM)
      case .pretend: return CInt(PGW_PRETEND)
      case .short: return CInt(PGW_SHORT)
      case .fail(let errno): return errno.rawValue
      }
    }
    watch.after = { context, call, result in
      Unmanaged<CallWatch>.fromOpaque(context!).takeUnretainedValue().after(Call(call!.pointee), result)
    }
    return try withUnsafePointer(to: watch) { watch in
      pgw_watch_calls(watch)
      defer { pgw_watch_calls(nil) }
      return try body()
    }
  }

  /// Runs `body` once for every call that it makes and every answer, with that one call answered so. `body` gets what was done
  /// to it, for messages. Returns how many runs there were.
  ///
  /// - Parameters:
  ///   - answers: tried on each call, where `applies` agrees.
  ///   - applies: whether an answer makes sense for a kind of call.
  ///   - body: sets its scene up anew each time; the call `watched` runs the part whose calls are counted.
  @discardableResult
  public static func failEachCall(
    _ answers: [Errno?], applies: @escaping (Kind, Errno?) -> Bool = { _, _ in true },
    _ body: (_ what: String, _ watch: CallWatch) throws -> Void
  ) rethrows -> Int {
    var runs = 0
    for answer in answers {
      var number = 0
      while true {
        var seen = 0
        var hit: Call?
        // A call that is tried again after EINTR is the next one.
        let watch = CallWatch(before: { call in
          defer { seen += 1 }
          guard seen == number, applies(call.kind, answer) else { return .perform }
          hit = call
          return answer.map { .fail($0) } ?? .short
        })
        let what = "call \(number) answered with \(answer.map { "\($0)" } ?? "a short transfer")"
        try body(what, watch)
        if seen <= number { break }
        if hit != nil { runs += 1 }
        number += 1
      }
    }
    return runs
  }
}

// SPDX-License-Identifier: Apache-2.0

public import SystemPackage

/// What one pass of a ``StreamedFile`` did.
public struct StreamReport: Sendable, Hashable {
  /// Bytes that were given out.
  public internal(set) var bytes: Int64 = 0
  /// The method that read most of them.
  public internal(set) var method = StreamedFile.Method.read
  /// Each method that was used or refused.
  public internal(set) var methods: [Figures] = []
  /// Windows that were read. A window is the unit of read-ahead, of dropping and of the choice of a method.
  public internal(set) var windows = 0
  /// Bytes in a window.
  public internal(set) var windowSize = 0
  /// Bytes given at a time, at most.
  public internal(set) var chunkSize = 0
  /// Pages that the pass brought into memory, its read-ahead included, and dropped. Read past the cache, none are. Counted by
  /// `cachestat`: 0 before Linux 6.5, where pages are dropped all the same.
  public internal(set) var pagesDropped = 0
  /// Pages that were in memory before the pass came to them, and were left there. In whole units of 2 MiB, or of a window where
  /// that is less, also at the ends of a range.
  public internal(set) var pagesKept = 0
  /// Pages that came into memory meanwhile and could not be dropped: in use, or dirty. Also those that another process
  /// brought in.
  public internal(set) var pagesLeft = 0
  /// False where the kernel hides from this user what of the file is in memory: then nothing is dropped by us, and methods
  /// that leave nothing behind are taken where there are any.
  public internal(set) var isResidencyKnown = true
  /// True when less memory was left than the kernel's own read-ahead may take: the pass then asked for each window by itself.
  public internal(set) var isMemoryScarce = false
  /// Wall time, the work of the caller included.
  public internal(set) var seconds: Double = 0
  /// Advice to the kernel (`posix_fadvise`, `madvise`) that it refused. Costs speed or leaves pages, never bytes.
  public internal(set) var refusedAdvice = 0
  /// Bytes at the end that are no whole record, for ``StreamedFile/forEachRecord(bytes:isCancelled:_:)``.
  public internal(set) var remainder = 0
  /// Lines or records that were given out; 0 for chunks.
  public internal(set) var items = 0
  /// Why it ended.
  public internal(set) var ending = Ending.end

  /// Why a pass ended.
  public enum Ending: String, Sendable, Hashable {
    /// All bytes were given out.
    case end
    /// The caller said ``StreamedFile/Step/stop``.
    case stopped
    /// The task, or the caller's own question, said that it is cancelled.
    case cancelled
  }

  /// One method in this pass.
  public struct Figures: Sendable, Hashable {
    public let method: StreamedFile.Method
    /// For bytes that were in memory already.
    public let isCached: Bool
    public internal(set) var bytes: Int64 = 0
    public internal(set) var windows = 0
    public internal(set) var seconds: Double = 0
    /// Why it cannot be used here; nil when it can.
    public internal(set) var refusal: Errno?

    /// Bytes per second, the work of the caller included, as that goes on while the device reads. Nil when not used.
    public var rate: Double? { bytes > 0 && seconds > 0 ? Double(bytes) / seconds : nil }
  }

  /// Why ``method`` was taken, as a sentence without a full stop.
  public var reason: String {
    let used = methods.filter { $0.bytes > 0 }
    if let refused = methods.first(where: { $0.refusal != nil }), used.count <= 1, !wasMeasured {
      return "\(refused.method.rawValue) is refused here"
    }
    return wasMeasured
      ? "the fastest of those that were tried" : wasAsked ? "as asked" : "the file is too small to compare"
  }
  /// True when methods were compared.
  public internal(set) var wasMeasured = false
  internal var wasAsked = false
}

// SPDX-License-Identifier: Apache-2.0

internal import CPlatform

/// Until when a call may wait: a moment of the monotonic clock, which stands still while the machine sleeps.
public struct Deadline: Sendable, Hashable, Comparable {
  /// UInt64.max is never.
  internal let nanoseconds: UInt64

  internal init(nanoseconds: UInt64) { self.nanoseconds = nanoseconds }

  /// Waits for as long as it takes.
  public static var never: Deadline { Deadline(nanoseconds: .max) }
  /// Does not wait.
  public static var now: Deadline { Deadline(nanoseconds: 0) }

  /// So long from now. Less than nothing is ``now``; more than three centuries is ``never``.
  public static func after(_ duration: Duration) -> Deadline {
    let (seconds, attoseconds) = duration.components
    guard seconds >= 0, attoseconds >= 0 else { return .now }
    let (whole, overflow) = UInt64(seconds).multipliedReportingOverflow(by: 1_000_000_000)
    let (sum, tooLate) = whole.addingReportingOverflow(UInt64(attoseconds) / 1_000_000_000)
    let (end, isBeyond) = sum.addingReportingOverflow(pgw_now_ns())
    return overflow || tooLate || isBeyond ? .never : Deadline(nanoseconds: end)
  }

  public static func < (left: Deadline, right: Deadline) -> Bool { left.nanoseconds < right.nanoseconds }

  /// Sleeps until the deadline, or a signal.
  internal static func nap(_ deadline: Deadline) { pgw_sleep_until(deadline.nanoseconds) }

  /// At most a century.
  internal var remainingNanoseconds: Int64 {
    let now = pgw_now_ns()
    return nanoseconds > now ? Int64(min(nanoseconds - now, 3_000_000_000_000_000_000)) : 0
  }

  internal var hasPassed: Bool { nanoseconds == 0 || nanoseconds != .max && pgw_now_ns() >= nanoseconds }
}

/// Attempts to copy what somebody writes at the same time: as many as are free, and then for a tenth of a second. A writer that does nothing else may win each one, and one
/// that is not trusted may want to. The clock is not asked for what succeeds at once.
internal struct Attempts {
  private let free: Int
  private var count = 0
  private var patience = Deadline.never

  internal init(free: Int) { self.free = free }

  /// Whether there is another attempt.
  @inline(__always)
  internal mutating func next() -> Bool {
    count &+= 1
    return count <= free || isInTime()
  }

  @inline(never)
  private mutating func isInTime() -> Bool {
    if patience == .never { patience = .after(.milliseconds(100)) }
    return !patience.hasPassed
  }
}

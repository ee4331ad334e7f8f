// SPDX-License-Identifier: Apache-2.0

internal import CPlatform

/// Until when a call may wait: a moment of the monotonic clock, which stands still while the machine sleeps.
public struct Deadline: Sendable, Hashable, Comparable {
  /// UInt64.max is never.
  internal let nanoseconds: UInt64

  internal init(nanoseconds: UInt64) { self.nanoseconds = nanoseconds }

  /// Waits for as long as it takes.
  public static let never = Deadline(nanoseconds: .max)
  /// Does not wait.
  public static let now = Deadline(nanoseconds: 0)

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

  internal var hasPassed: Bool { nanoseconds == 0 || nanoseconds != .max && pgw_now_ns() >= nanoseconds }
}

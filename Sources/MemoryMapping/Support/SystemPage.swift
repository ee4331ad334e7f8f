// SPDX-License-Identifier: Apache-2.0

internal import CPlatform

/// The unit in which the kernel maps memory, read from the running system: 4 KiB, 16 KiB or 64 KiB.
public enum SystemPage {
  /// Bytes in a page. C: `sysconf(_SC_PAGESIZE)`.
  public static let size: Int = pgw_page_size()
}

/// Page arithmetic on byte ranges, with every addition checked. The page size is an argument, so that tests can try sizes
/// that this machine does not have.
internal struct PageMath {
  internal let pageSize: Int

  internal init(pageSize: Int = SystemPage.size) {
    precondition(pageSize > 0 && pageSize & (pageSize - 1) == 0, "PageMath: a page size is a power of two")
    self.pageSize = pageSize
  }

  /// The largest multiple of the page size that is not above `offset`.
  internal func down(_ offset: Int64) -> Int64 { offset & ~Int64(pageSize - 1) }
  internal func down(_ offset: Int) -> Int { offset & ~(pageSize - 1) }

  /// The smallest multiple of the page size that is not below `length`, or nil when there is none.
  internal func up(_ length: Int) -> Int? {
    let (sum, overflow) = length.addingReportingOverflow(pageSize - 1)
    return overflow ? nil : down(sum)
  }

  /// What to ask of the kernel in order to see `length` bytes at `offset`: an aligned offset, the slack in front, and
  /// the length with the slack, rounded up. Nil when the sum does not fit.
  internal func span(offset: Int64, length: Int) -> (offset: Int64, slack: Int, length: Int)? {
    guard offset >= 0, length >= 0 else { return nil }
    let start = down(offset)
    let slack = Int(offset - start)
    let (whole, overflow) = slack.addingReportingOverflow(length)
    guard !overflow, let rounded = up(whole), start.addingReportingOverflow(Int64(rounded)).overflow == false
    else { return nil }
    return (start, slack, rounded)
  }
}

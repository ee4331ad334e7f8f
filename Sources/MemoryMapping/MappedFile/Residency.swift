// SPDX-License-Identifier: Apache-2.0

/// How much of a range is in memory.
public struct Residency: Sendable, Hashable {
  /// Pages in the range, in units of ``SystemPage/size``.
  public let pages: Int
  /// Pages of it in the page cache; nil where the kernel does not tell this user.
  public let resident: Int?
  /// Pages that wait for write-back, in whole folios; nil where the kernel cannot say.
  public let dirty: Int?

  /// False when the kernel hides the answer: for a file that this user neither owns nor may write, `mincore` says that all
  /// is resident, which is not true.
  public var isPermitted: Bool { resident != nil }

  /// Resident share, 0 to 1; nil when hidden, 1 for an empty range.
  public var fraction: Double? {
    guard let resident else { return nil }
    return pages == 0 ? 1 : Double(resident) / Double(pages)
  }
}

// SPDX-License-Identifier: Apache-2.0

/// The first elements of an order, of any number that is offered, in memory of a fixed size.
internal struct TopList<Element> {
  private let limit: Int
  private var kept: [(rank: Int64, order: Int, element: Element)] = []
  private var offered = 0
  /// What cannot be among the first any more.
  private var floor = Int64.min

  /// - Parameter limit: how many to keep; nil for all.
  internal init(limit: Int?) { self.limit = max(0, limit ?? .max) }

  /// Offers an element, which is made only if it can be among the first.
  ///
  /// - Parameter rank: the higher, the earlier; equal ones in the order in which they come.
  @inline(__always)
  internal mutating func offer(_ rank: Int64, _ element: () -> Element) {
    guard limit > 0, rank > floor || floor == .min else { return }
    kept.append((rank, offered, element()))
    offered += 1
    // Sorted now and then: O(log limit) for each element.
    let (most, overflow) = limit.multipliedReportingOverflow(by: 2)
    if !overflow, kept.count > most + 64 { cut() }
  }

  private mutating func cut() {
    kept.sort { ($1.rank, $0.order) < ($0.rank, $1.order) }
    kept.removeSubrange(limit...)
    floor = kept[limit - 1].rank
  }

  internal var elements: [Element] {
    kept.sorted { ($1.rank, $0.order) < ($0.rank, $1.order) }.prefix(limit).map(\.element)
  }
}

// SPDX-License-Identifier: Apache-2.0

public import MemoryMapping

/// One row of a report: the strategies for one way of using the file, measured against each other.
public struct AccessResult: Sendable {
  /// How the file was used.
  public let access: Access
  /// The fixed strategies. One that cannot serve this access is missing.
  public let cells: [Cell]
  /// The library's own choice; nil where none could be asked.
  public let chosen: Chosen?

  /// The median time of one strategy.
  public struct Cell: Sendable {
    public let strategy: FileBytes.Strategy
    /// What was done, in words.
    public let method: String
    /// One use of the file, from opening to closing, in nanoseconds. Median of all rounds.
    public let medianNanoseconds: UInt64
    public let fastestNanoseconds: UInt64
    public let slowestNanoseconds: UInt64
    /// How often it was measured.
    public let rounds: Int
    /// True when only a part of the file was used, and the time is that of the part times the whole's share.
    public let isExtrapolated: Bool
  }

  /// What the library does by itself when it is told the access pattern.
  public struct Chosen: Sendable {
    public let strategy: FileBytes.Strategy
    /// The call that was measured.
    public let call: String
    /// Why, in the library's own words.
    public let sentence: String
    /// As ``Cell/medianNanoseconds``.
    public let medianNanoseconds: UInt64
    public let rounds: Int
    /// False where a run would have used all of a huge file: the time is then that of the chosen strategy's cell.
    public let isMeasured: Bool
    public let isExtrapolated: Bool
  }

  /// The fastest fixed strategy.
  public var best: Cell? { cells.min { $0.medianNanoseconds < $1.medianNanoseconds } }

  /// Time of the library's choice divided by the time of the best strategy. 1 is perfect; below 1 it found a better way.
  public var regret: Double? {
    guard let best, let chosen, best.medianNanoseconds > 0 else { return nil }
    return Double(chosen.medianNanoseconds) / Double(best.medianNanoseconds)
  }

  /// The cell of `strategy`, if it was measured.
  public func cell(_ strategy: FileBytes.Strategy) -> Cell? { cells.first { $0.strategy == strategy } }

  /// The fastest of the strategies that map, and of those that read.
  internal var bestMapped: Cell? { fastest { $0 == .map || $0 == .mapPopulate } }
  internal var bestRead: Cell? { fastest { $0 == .read || $0 == .stream } }

  private func fastest(_ belongs: (FileBytes.Strategy) -> Bool) -> Cell? {
    cells.filter { belongs($0.strategy) }.min { $0.medianNanoseconds < $1.medianNanoseconds }
  }
}

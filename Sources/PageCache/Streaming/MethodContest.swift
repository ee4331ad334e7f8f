// SPDX-License-Identifier: Apache-2.0

internal import SystemPackage

/// Which method reads the next window: each is tried, the fastest goes on, and those that were near it are tried again
/// seldom.
internal struct MethodContest {
  internal typealias Method = StreamedFile.Method

  /// One contest for bytes from the device, one for bytes in memory.
  private struct Round {
    var candidates: [Method]
    /// Bytes per second of the last trial; 0 before it.
    var rates: [Double]
    var current = -1
    var trialBytes: Int64 = 0
    var trialSeconds = 0.0
    /// Bytes since all were tried.
    var since: Int64 = 0
  }
  private var rounds: [Round]
  internal private(set) var figures: [StreamReport.Figures] = []
  /// Bytes of one trial.
  private let trial: Int64
  /// Trials between two rounds of trials.
  private static let rest: Int64 = 64
  /// By how much.
  private static let margin = 1.1
  private let fixed: Method?

  /// - Parameters:
  ///   - fixed: the only method; nil for a contest.
  ///   - cold: methods for what is not in memory, in the order of their trials.
  ///   - warm: methods for what is.
  ///   - trial: bytes of each trial.
  internal init(fixed: Method?, cold: [Method], warm: [Method], trial: Int64) {
    self.fixed = fixed
    self.trial = trial
    rounds = [cold, warm].map { Round(candidates: $0, rates: Array(repeating: 0, count: $0.count)) }
    figures.reserveCapacity(10)
  }

  internal var wasMeasured: Bool {
    fixed == nil && [true, false].contains { kind in figures.count { $0.isCached == kind && $0.bytes > 0 } > 1 }
  }

  /// The method for the next window.
  internal mutating func next(isCached: Bool) -> Method {
    if let fixed { return isRefused(fixed) ? .read : fixed }
    let index = isCached ? 1 : 0
    if rounds[index].current < 0 || rounds[index].trialBytes >= trial { choose(index) }
    return rounds[index].current < 0 ? .read : rounds[index].candidates[rounds[index].current]
  }

  private mutating func choose(_ index: Int) {
    var round = rounds[index]
    if round.current >= 0, round.trialSeconds > 0 {
      let rate = Double(round.trialBytes) / round.trialSeconds
      let before = round.rates[round.current]
      round.rates[round.current] = before == 0 ? rate : (before + rate) / 2
      round.since += round.trialBytes
    }
    round.trialBytes = 0
    round.trialSeconds = 0
    if let untried = round.candidates.indices.first(where: { round.rates[$0] == 0 && !isRefused(round.candidates[$0]) })
    {
      round.current = untried
      round.since = 0
    } else {
      let open = round.candidates.indices.filter { !isRefused(round.candidates[$0]) }
      round.current = open.max { round.rates[$0] * weight($0, round) < round.rates[$1] * weight($1, round) } ?? -1
      if round.since >= trial * Self.rest, round.current >= 0 {
        round.since = 0
        // Those that are far behind are left alone.
        let best = open.map { round.rates[$0] }.max() ?? 0
        for other in open where other != round.current && round.rates[other] > best / 2 { round.rates[other] = 0 }
      }
    }
    rounds[index] = round
  }

  /// Reading is never bad, and a trial is short: another method must be better by more than the noise.
  private func weight(_ index: Int, _ round: Round) -> Double { round.candidates[index] == .read ? Self.margin : 1 }

  internal func isRefused(_ method: Method) -> Bool { figures.contains { $0.method == method && $0.refusal != nil } }

  internal mutating func refuse(_ method: Method, _ errno: Errno, isCached: Bool) {
    figures[place(method, isCached)].refusal = errno
    for index in rounds.indices where rounds[index].current >= 0 {
      guard rounds[index].candidates[rounds[index].current] == method else { continue }
      rounds[index].current = -1
      rounds[index].trialBytes = 0
      rounds[index].trialSeconds = 0
    }
  }

  /// A window that was read.
  internal mutating func note(_ method: Method, isCached: Bool, bytes: Int64, seconds: Double) {
    guard bytes > 0 else { return }
    let place = place(method, isCached)
    figures[place].bytes += bytes
    figures[place].windows += 1
    figures[place].seconds += seconds
    let index = isCached ? 1 : 0
    guard rounds[index].current >= 0, rounds[index].candidates[rounds[index].current] == method else { return }
    rounds[index].trialBytes += bytes
    rounds[index].trialSeconds += seconds
  }

  private mutating func place(_ method: Method, _ isCached: Bool) -> Int {
    if let found = figures.firstIndex(where: { $0.method == method && $0.isCached == isCached }) { return found }
    figures.append(StreamReport.Figures(method: method, isCached: isCached))
    return figures.count - 1
  }
}

// SPDX-License-Identifier: Apache-2.0

internal import CPlatform
internal import MemoryMapping

/// Runs several ways in turn, so that whatever else the machine does meets them all alike.
///
/// Round 0 is a trial: it proves that all saw the same bytes, warms what can be warmed, and finds how often a fast way must
/// be repeated to be seen by the clock. Then alternating rounds, each in another random order, until the time is used: what
/// one way leaves behind in the caches must not always meet the same follower.
internal struct Measurement {
  internal let ways: [Way]
  /// Called before each cold timing; nil for warm ones.
  internal let evict: (() -> Void)?
  internal let isCancelled: () -> Bool
  /// False where the content is another each time.
  internal let comparesChecksums: Bool
  internal let seed: UInt64

  /// The times of one way in nanoseconds, one for each round.
  internal struct Series {
    internal var times: [UInt64] = []

    internal var median: UInt64 {
      let sorted = times.sorted()
      guard !sorted.isEmpty else { return 0 }
      let upper = sorted[sorted.count / 2]
      return sorted.count % 2 == 1 ? upper : (sorted[sorted.count / 2 - 1] + upper) / 2
    }
  }

  /// Ways that did not see the same bytes.
  internal struct Disagreement: Error {}

  internal enum Failure: Error {
    case mapping(MappingError)
    case disagreement
  }

  internal static let maximumRounds = 41
  /// Fast ways are repeated until one timing takes this long.
  internal static let shortestTiming: UInt64 = 100_000
  internal static let maximumBatch = 32

  /// Nil when it was cancelled before every way had a time.
  internal func run(budget: UInt64, probe: DecisionProbe) throws(Failure) -> [Series]? {
    var series = [Series](repeating: Series(), count: ways.count)
    var batches = [Int](repeating: 1, count: ways.count)
    let start = pgw_now_ns()
    let isCold = evict != nil
    var order = Array(ways.indices)
    var shuffling = RandomPlaces(seed: seed)

    for round in 0..<Self.maximumRounds {
      var reference: UInt64? = nil
      let roundStart = pgw_now_ns()
      for last in order.indices.dropFirst() { order.swapAt(last, Int(shuffling.next(below: Int64(last) + 1))) }
      for index in order {
        if isCancelled() { return complete(series) }
        let isTrial = round == 0 && !isCold
        evict?()
        let wantsDecision = round == 0 && ways[index].strategy == nil
        var outcome = Way.Outcome(checksum: 0)
        let begin = pgw_now_ns()
        for _ in 0..<batches[index] {
          do throws(MappingError) {
            outcome = try ways[index].run(seed &+ UInt64(round), wantsDecision ? probe : nil)
          } catch {
            throw .mapping(error)
          }
        }
        let elapsed = (pgw_now_ns() - begin) / UInt64(batches[index]) + outcome.leftOut
        if comparesChecksums, let checksum = outcome.checksum {
          if let reference, reference != checksum { throw .disagreement }
          reference = checksum
        }
        if isTrial {
          if !isCold {
            let wanted = Self.shortestTiming / max(1, elapsed) + 1
            batches[index] = min(Self.maximumBatch, Int(wanted))
          }
        } else {
          series[index].times.append(elapsed)
        }
      }
      let now = pgw_now_ns()
      let hasTimes = round > 0 || isCold
      // Another round must fit.
      if hasTimes, now - start + (now - roundStart) > budget { break }
    }
    return complete(series)
  }

  /// What there is, if there is something for each way.
  private func complete(_ series: [Series]) -> [Series]? {
    series.allSatisfy { !$0.times.isEmpty } ? series : nil
  }
}

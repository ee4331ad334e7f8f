// SPDX-License-Identifier: Apache-2.0

import CBaselines

/// What the tables of messages have in common: their scenarios, and how long each takes.
///
/// The tables are never mixed: polling, blocking, async.
struct MessageTable {
  let harness: Harness
  let choice: Choice
  let rivals: Rivals
  /// Which of them; in JSON, too.
  let name: String
  let spins: Bool

  private var runs: Int { harness.isQuick ? 1 : 5 }

  /// A. Round trips.
  func pingPong(
    ours: Side, others: [Side?], size: Int = 64, count: Int, placement: Scenario.Placement = .twoProcessors,
    runs: Int? = nil
  ) throws {
    let count = harness.isQuick ? count / 100 : count
    try measure(
      "round trip of \(bytes(size))", .latencies,
      Scenario(kind: .pingPong, spins: spins, size: size, count: count, placement: placement, isSampled: true),
      ours: ours, others: others, runs: runs)
  }

  /// B. One way, as fast as it goes.
  func oneWay(
    ours: Side, others: [Side?], size: Int, count: Int, touched: Int? = nil,
    placement: Scenario.Placement = .twoProcessors
  ) throws {
    let count = harness.isQuick ? max(count / 100, 16) : count
    let part = touched.map { ", \($0) B of each written and read" } ?? ""
    try measure(
      "stream of \(bytes(size))\(part)", .throughput,
      Scenario(kind: .oneWay, spins: spins, size: size, count: count, placement: placement, touched: touched),
      ours: ours, others: others)
  }

  /// C. At a rate, each latency from the moment at which the message should have been sent.
  func openLoop(ours: Side, others: [Side?], rate: Int, placement: Scenario.Placement = .twoProcessors) throws {
    let count = harness.isQuick ? rate / 20 : rate
    try measure(
      "\(rate) messages of 64 B a second", .latencies,
      Scenario(kind: .openLoop, spins: spins, count: count, placement: placement, rate: rate, isSampled: true),
      ours: ours, others: others,
      runs: 3)
  }

  /// D. Several senders.
  func fanIn(ours: Side, others: [Side?], size: Int, count: Int) throws {
    let count = harness.isQuick ? count / 100 : count
    try measure(
      "three senders of \(bytes(size))", .throughput,
      Scenario(kind: .fanIn, spins: spins, size: size, count: count, producers: 3), ours: ours, others: others)
  }

  /// D. Several receivers, each of which gets every message.
  func fanOut(ours: Side, others: [Side?], size: Int, count: Int) throws {
    let count = harness.isQuick ? count / 100 : count
    try measure(
      "three receivers of \(bytes(size))", .throughput,
      Scenario(kind: .fanOut, spins: spins, size: size, count: count, producers: 3, placement: .unpinned), ours: ours,
      others: others)
  }

  private func measure(
    _ title: String, _ columns: Comparison.Columns, _ scenario: Scenario, ours: Side, others: [Side?], runs: Int? = nil
  ) throws {
    let title = "\(name): \(title)"
    guard choice.contains(title) else { return }
    try Comparison(
      harness: harness, table: name, title: title, columns: columns, scenario: scenario,
      runs: harness.isQuick ? 1 : runs ?? self.runs
    ).measure(ours: ours, others: others)
  }
}

func bytes(_ count: Int) -> String {
  count >= 1 << 20 ? "\(count >> 20) MiB" : count >= 1024 ? "\(count >> 10) KiB" : "\(count) B"
}

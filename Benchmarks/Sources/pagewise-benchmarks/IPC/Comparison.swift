// SPDX-License-Identifier: Apache-2.0

import CBaselines
import Histogram

/// Runs of all sides of one scenario, and the table of them.
struct Comparison {
  enum Columns {
    /// p50, p90, p99, p99.9 and the longest, of what the samples are.
    case latencies
    /// Messages and bytes a second.
    case throughput
  }

  let harness: Harness
  /// For JSON: polling, blocking, async.
  let table: String
  let title: String
  let columns: Columns
  let scenario: Scenario
  let runs: Int

  private struct Entry {
    let side: Side
    var runs: [Measured] = []
    /// Of each run: the time of ours that ran just before or after / its time.
    var ratios: [Double] = []
    /// Why there are no more runs of it.
    var failure: String?
  }

  /// Measures in rounds. Ours runs beside every two others, before the one and after the other, and the next round goes backwards: so whatever else the
  /// machine does meets both of a pair.
  func measure(ours: Side, others: [Side?]) throws {
    var entries = ([ours] + others.compactMap { $0 }).map { Entry(side: $0) }
    for round in 0..<runs {
      var order = entries.indices.dropFirst().filter { entries[$0].failure == nil }
      if round % 2 == 1 { order.reverse() }
      if order.isEmpty { entries[0].runs.append(try ours.run(scenario)) }
      for start in stride(from: 0, to: order.count, by: 2) {
        let before = measure(&entries[order[start]])
        let own = try ours.run(scenario)
        entries[0].runs.append(own)
        if let before { add(before, own, to: &entries[order[start]]) }
        guard start + 1 < order.count, let after = measure(&entries[order[start + 1]]) else { continue }
        add(after, own, to: &entries[order[start + 1]])
      }
    }
    show(entries)
  }

  /// Nil when the side failed, which ends its part.
  private func measure(_ entry: inout Entry) -> Measured? {
    do { return try entry.side.run(scenario) } catch {
      entry.failure = "\(error)"
      if !entry.side.isRival { harness.failures.append("\(title)/\(entry.side.name): \(error)") }
      return nil
    }
  }

  private func add(_ run: Measured, _ own: Measured, to entry: inout Entry) {
    if entry.side.hasWork, run.work != own.work {
      harness.failures.append("\(title)/\(entry.side.name): \(run.work) was read, by ours \(own.work)")
    }
    entry.ratios.append(figure(own) / max(figure(run), 1e-9))
    entry.runs.append(run)
  }

  /// What is compared.
  private func figure(_ run: Measured) -> Double {
    columns == .latencies ? Double(run.latencies.valueAtPercentile(50)) : run.seconds
  }

  private static let percentiles = [50, 90, 99, 99.9, 100]
  private var messages: Double { Double(scenario.count * (scenario.kind == .fanIn ? scenario.producers : 1)) }

  private func show(_ entries: [Entry]) {
    let what = columns == .latencies ? "ns" : "messages"
    harness.note(
      "\n\(title): \(Int(messages)) \(what == "ns" ? "samples" : "messages") a run, \(runs) runs"
        + ", \(scenario.placement.text)")
    let heads =
      columns == .latencies
      ? ["p50 ns", "p90", "p99", "p99.9", "max", "p50 of runs"] : ["messages/s", "GB/s", "ns each", "of runs"]
    harness.note(
      pad("", 30) + heads.map { left($0, $0.contains("runs") ? 17 : 11) }.joined()
        + ["CPU s send", "CPU s recv", "switches", "ours / this"].map { left($0, 12) }.joined())
    for entry in entries { show(entry) }
  }

  private func show(_ entry: Entry) {
    if let failure = entry.failure { harness.note(pad(entry.side.name, 30) + "failed: \(failure)") }
    guard !entry.runs.isEmpty else { return }
    let runs = entry.runs
    let values: [Double]
    let spread: [Double]
    if columns == .latencies {
      values = Self.percentiles.map { percentile in
        median(runs.map { Double($0.latencies.valueAtPercentile(percentile)) })
      }
      spread = runs.map { Double($0.latencies.valueAtPercentile(50)) }.sorted()
    } else {
      let each = median(runs.map { $0.seconds * 1e9 / messages })
      values = [1e9 / each, Double(scenario.size) / each, each]
      spread = runs.map { $0.seconds * 1e9 / messages }.sorted()
    }
    let sender = median(runs.map(\.senderSeconds))
    let receiver = median(runs.map(\.receiverSeconds))
    let switches = median(runs.map { Double($0.switches) })
    let ratios = entry.ratios.sorted()
    let ratio =
      ratios.isEmpty ? "" : "\(number(ratios[ratios.count / 2])) (\(number(ratios.first!))–\(number(ratios.last!)))"
    harness.note(
      pad(entry.side.name, 30) + values.map { left(number($0), 11) }.joined()
        + left("\(number(spread.first!))–\(number(spread.last!))", 17)
        + [sender, receiver].map { left(number($0), 12) }.joined() + left(number(switches), 12) + "  " + ratio)
    harness.addRecord(
      [
        ("table", .text(table)), ("name", .text(title)), ("side", .text(entry.side.name)),
        ("placement", .text(scenario.placement.text)), ("values", .numbers(values)), ("runs", .numbers(spread)),
        ("sender_cpu_s", .numbers([sender])), ("receiver_cpu_s", .numbers([receiver])),
        ("switches", .numbers([switches])), ("ours_to_this", .numbers(ratios)),
      ])
  }
}

// SPDX-License-Identifier: Apache-2.0

import CBaselines

/// Messages between processes: the two figures that there are goals for, the tables, which are never mixed, and recovery.
///
/// Every payload is written and read whole, unless a row says otherwise. Every side runs in processes of its own, touches all that they have in common first, and is timed
/// from when all of them are there.
func benchmarkRings(_ harness: Harness, _ place: borrowing Workplace, rivals folder: String?, tables: [String]) throws {
  let rivals = Rivals(folder: folder, place: place)
  let choice = Choice(names: tables)
  try benchmarkGoals(harness, choice)
  harness.note("\none reading of the clock: \(number(base_clock_cost())) ns, once in each round trip of all tables")
  for line in rivals.absent() { harness.note(line) }
  try benchmarkPolling(harness, rivals, choice)
  try benchmarkBlocking(harness, rivals, choice)
  try benchmarkAsync(harness, rivals, choice)
  if choice.contains("recovery") { try benchmarkRecovery(harness) }
}

/// Which tables were asked for: all, or those whose name contains one of the texts.
struct Choice {
  let names: [String]
  func contains(_ title: String) -> Bool { names.isEmpty || names.contains { title.contains($0) } }
}

private func benchmarkGoals(_ harness: Harness, _ choice: Choice) throws {
  guard choice.contains("goals") else { return }
  let trips = harness.isQuick ? 5000 : 200_000
  try pair(
    harness, "round trip of 64 B, polling / C spin on two lines", goal: "1.5",
    Scenario(kind: .pingPong, spins: true, count: trips), ours: .ours, other: .spinningWords)
  let messages = harness.isQuick ? 5000 : 300_000
  try pair(
    harness, "stream of 64 B, blocking / pipe", goal: "0.1",
    Scenario(kind: .oneWay, spins: false, count: messages), ours: .ours, other: .pipe)
}

/// One row of the harness; nobody looks at the clock in between.
private func pair(
  _ harness: Harness, _ name: String, goal: String, _ scenario: Scenario, ours: Side, other: Side
) throws {
  var first: [Double] = []
  var second: [Double] = []
  for round in 0..<(harness.isQuick ? 1 : 11) {
    let isFirst = round % 2 == 0
    let early = try (isFirst ? ours : other).run(scenario)
    let late = try (isFirst ? other : ours).run(scenario)
    first.append((isFirst ? early : late).seconds * 1e9 / Double(scenario.count))
    second.append((isFirst ? late : early).seconds * 1e9 / Double(scenario.count))
  }
  harness.add("ring", name, ours: first, baseline: second, goal: goal)
}

// SPDX-License-Identifier: Apache-2.0

import CBaselines

/// All sides sleep when there is nothing to do. Ours looks two thousand times before it does, where it may use more than one processor: so the rows of
/// pinned processes show it sleeping, the unpinned ones as it is by default.
func benchmarkBlocking(_ harness: Harness, _ rivals: Rivals, _ choice: Choice) throws {
  harness.note("\n-- BLOCKING: all sides sleep when there is nothing to do")
  let table = MessageTable(harness: harness, choice: choice, rivals: rivals, name: "blocking", spins: false)
  let others = [Side.pipe, .socket, .queue, rivals.boost, rivals.zeroMQ, rivals.iceoryx]
  try table.pingPong(ours: .ours, others: [.sleepingWords] + others, count: 20_000)
  try table.pingPong(ours: .ours, others: [.sleepingWords] + others, count: 20_000, placement: .oneProcessor, runs: 3)
  if !harness.isQuick {
    try table.pingPong(ours: .ours, others: others, count: 20_000, placement: .unpinned, runs: 3)
  }

  for (size, count) in [(64, 200_000), (1024, 100_000), (65_536, 4000), (1 << 20, 250)] {
    try table.oneWay(ours: .ours, others: [.oursInPlace, .oursInBatches] + others, size: size, count: count)
  }
  if !harness.isQuick {
    for placement in [Scenario.Placement.oneProcessor, .unpinned] {
      try table.oneWay(ours: .ours, others: [.pipe, .socket], size: 64, count: 200_000, placement: placement)
    }
  }

  for rate in [1000, 10_000, 100_000] { try table.openLoop(ours: .ours, others: others, rate: rate) }
  if !harness.isQuick { try table.openLoop(ours: .ours, others: [.pipe], rate: 100_000, placement: .unpinned) }
  for (size, count) in [(64, 50_000), (4096, 20_000)] {
    try table.fanIn(ours: .ours, others: [.oursInBatches] + others, size: size, count: count)
  }
  for (size, count) in [(64, 100_000), (4096, 20_000)] {
    try table.fanOut(ours: .followers, others: [.readers, .threePipes], size: size, count: count)
  }
  if choice.contains("blocking: idle") { try benchmarkIdle(harness, harness.isQuick ? [.ours] : [.ours] + others) }
}

/// E. What it costs to wait for a message that does not come for ten seconds.
func benchmarkIdle(_ harness: Harness, _ sides: [Side?], table: String = "blocking") throws {
  let seconds = harness.isQuick ? 2.0 : 10
  harness.note("\n\(table): a receiver that gets nothing for \(number(seconds)) s")
  harness.note(pad("", 30) + ["CPU us a second", "both", "switches"].map { left($0, 17) }.joined())
  for side in sides.compactMap({ $0 }) {
    let run: Measured
    do { run = try side.run(Scenario(kind: .openLoop, spins: false, count: 1, idleSeconds: seconds)) } catch {
      if !side.isRival { throw error }
      harness.note(pad(side.name, 30) + "failed: \(error)")
      continue
    }
    let receiver = run.receiverSeconds * 1e6 / seconds
    let both = run.processorSeconds * 1e6 / seconds
    harness.note(pad(side.name, 30) + [receiver, both, Double(run.switches)].map { left(number($0), 17) }.joined())
    harness.addRecord([
      ("table", .text(table)), ("name", .text("idle")), ("side", .text(side.name)),
      ("receiver_us_per_s", .numbers([receiver])), ("both_us_per_s", .numbers([both])),
    ])
  }
}

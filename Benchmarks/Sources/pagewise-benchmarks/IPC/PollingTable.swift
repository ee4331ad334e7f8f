// SPDX-License-Identifier: Apache-2.0

import CBaselines

/// All sides look again and again.
func benchmarkPolling(_ harness: Harness, _ rivals: Rivals, _ choice: Choice) throws {
  harness.note("\n-- POLLING: all sides spin")
  let table = MessageTable(harness: harness, choice: choice, rivals: rivals, name: "polling", spins: true)
  let others = [Side.ring, rivals.boost, rivals.iceoryx]
  try table.pingPong(ours: .ours, others: [.spinningWords] + others, count: 200_000)
  try table.pingPong(ours: .ours, others: [.spinningWords] + others, size: 8, count: 200_000)
  try table.pingPong(ours: .ours, others: others, count: 200_000, placement: .unpinned, runs: 3)
  try table.pingPong(ours: .ours, others: [.spinningWords] + others, count: 50_000, placement: .oneProcessor, runs: 3)

  for (size, count) in [(64, 1_000_000), (1024, 300_000), (65_536, 10_000), (1 << 20, 500)] {
    try table.oneWay(
      ours: .ours,
      others: [.ring, .ringInPlace, .oursInPlace, .oursInBatches, rivals.boost, rivals.iceoryx], size: size,
      count: count)
  }
  if !harness.isQuick {
    for (size, count) in [(65_536, 300_000), (1 << 20, 300_000)] {
      try table.oneWay(
        ours: .oursInPlace, others: [.ringInPlace, rivals.iceoryx], size: size, count: count, touched: 8)
    }
    try table.oneWay(ours: .ours, others: others, size: 64, count: 500_000, placement: .oneProcessor)
  }

  for rate in [1000, 10_000, 100_000] { try table.openLoop(ours: .ours, others: others, rate: rate) }
  for (size, count) in [(64, 200_000), (4096, 30_000)] {
    try table.fanIn(
      ours: .ours, others: [.ring, .oursInBatches, rivals.boost, rivals.iceoryx], size: size, count: count)
  }
}

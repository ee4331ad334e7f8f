// SPDX-License-Identifier: Apache-2.0

import CBaselines
import SharedMemory

/// Messages between two processes. Three tables that are never mixed: both sides spin, or both sleep when there is nothing to do.
///
/// Every payload is written and read whole. The other side is forked in each call, and attaches for itself.
func benchmarkRings(_ harness: Harness, _ place: borrowing Workplace) throws {
  let rounds = harness.isQuick ? 2_000 : 100_000
  harness.note("-- both sides spin")
  try harness.pair(
    "ring", "round trip of 64 B, polling / C spin on two lines", units: Double(rounds), goal: "1.5",
    rounds: harness.isQuick ? 1 : 15,
    ours: { try pingPong(rounds, spins: true) }, baseline: { base_spin_pingpong(rounds) })
  for (size, count) in [(64, 400_000), (1024, 200_000), (65_536, 4_000)] {
    let count = harness.isQuick ? count / 100 : count
    try harness.pair(
      "ring", "stream of \(size) B, polling / C ring", units: Double(count), rounds: harness.isQuick ? 1 : 11,
      ours: { try stream(count, size, spins: true) },
      baseline: { base_message_stream(Int32(BASE_STREAM_RING.rawValue), count, size) })
  }
  harness.note("-- both sides sleep")
  let fewer = harness.isQuick ? 500 : 10_000
  try harness.pair(
    "ring", "round trip of 64 B / futex", units: Double(fewer), rounds: harness.isQuick ? 1 : 11,
    ours: { try pingPong(fewer, spins: false) }, baseline: { base_futex_pingpong(fewer) })
  try harness.pair(
    "ring", "round trip of 64 B / two pipes", units: Double(fewer), rounds: harness.isQuick ? 1 : 11,
    ours: { try pingPong(fewer, spins: false) }, baseline: { base_pipe_pingpong(fewer) })
  for (kind, name) in [(BASE_STREAM_PIPE, "pipe"), (BASE_STREAM_SOCKET, "Unix socket")] {
    for (size, count) in [(64, 200_000), (1024, 100_000), (65_536, 4_000)] {
      let count = harness.isQuick ? count / 100 : count
      try harness.pair(
        "ring", "stream of \(size) B / \(name)", units: Double(count), goal: size == 64 && name == "pipe" ? "0.1" : "",
        rounds: harness.isQuick ? 1 : 11,
        ours: { try stream(count, size, spins: false) },
        baseline: { base_message_stream(Int32(kind.rawValue), count, size) })
    }
  }
}

/// A region with a way there and a way back, and the other side in a child.
private func withPeer(
  _ capacity: Int, other: (inout SharedRegion) throws -> Void, own: (borrowing SharedRegion) throws -> Void
) throws {
  var region = try SharedRegion(
    creating: RegionLayout(
      .ring("there", capacity: capacity), .ring("back", capacity: capacity), .counters("ready", count: 1)))
  let child = base_fork()
  if child == 0 {
    do {
      try region.attachAfterFork()
      try other(&region)
      base_exit(0)
    } catch {
      print(error)
      base_exit(1)
    }
  }
  try own(region)
  guard base_await(child) == 0 else { throw WorkDiffers(description: "the other process failed") }
}

private func receive(_ consumer: inout RingConsumer, spins: Bool) throws -> UInt64 {
  if !spins { return try consumer.receive { bytes, _ in sum(bytes) } }
  while true {
    if let sum = try consumer.tryReceive({ bytes, _ in sum(bytes) }) { return sum }
    base_pause()
  }
}

private func send(_ producer: inout RingProducer, _ bytes: RawSpan, spins: Bool) throws {
  if !spins { return try producer.send(bytes) }
  while try !producer.trySend(bytes) { base_pause() }
}

private func sum(_ bytes: RawSpan) -> UInt64 { bytes.withUnsafeBytes { base_sum_message($0.baseAddress, $0.count) } }

private func pingPong(_ rounds: Int, spins: Bool) throws -> UInt64 {
  let message = [UInt8](repeating: 1, count: 64)
  var done: UInt64 = 0
  try withPeer(4096) { region in
    var there = try region.consumer(of: "there")
    var back = try region.producer(of: "back")
    for _ in 0..<rounds {
      _ = try receive(&there, spins: spins)
      try send(&back, message.span.bytes, spins: spins)
    }
  } own: { region in
    var there = try region.producer(of: "there")
    var back = try region.consumer(of: "back")
    for _ in 0..<rounds {
      try send(&there, message.span.bytes, spins: spins)
      _ = try receive(&back, spins: spins)
      done += 1
    }
  }
  return done
}

private func stream(_ count: Int, _ size: Int, spins: Bool) throws -> UInt64 {
  let result = base_shared_word()!
  try withPeer(1 << 20) { region in
    var there = try region.consumer(of: "there")
    var total: UInt64 = 0
    for _ in 0..<count { total &+= try receive(&there, spins: spins) }
    result.pointee = total
  } own: { region in
    var there = try region.producer(of: "there")
    var message = [UInt8](repeating: 0, count: size)
    for number in 0..<count {
      message.withUnsafeMutableBytes { base_fill_message($0.baseAddress, size, UInt64(number)) }
      try send(&there, message.span.bytes, spins: spins)
    }
  }
  return result.pointee
}

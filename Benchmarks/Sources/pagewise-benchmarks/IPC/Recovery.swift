// SPDX-License-Identifier: Apache-2.0

import CBaselines
import Histogram
import SharedMemory

/// F. A sender is killed; how long until another one has its lane and its first message is there. Nobody pins anything.
func benchmarkRecovery(_ harness: Harness) throws {
  let kills = harness.isQuick ? 20 : 250
  harness.note("\nrecovery: SIGKILL to a sender until the first message of the next one, \(kills) kills")
  harness.note(pad("", 46) + ["p50 us", "p90", "p99", "max"].map { left($0, 11) }.joined())
  show(harness, "a standby asks for the lane again and again", try killed(kills, next: .asks))
  show(harness, "a standby sleeps until its end (PeerWatch)", try killed(kills, next: .watches))
  show(harness, "awaited, and another one forked and attached", try killed(kills, next: .isForked))
  var control = Measured.emptyHistogram()
  for _ in 0..<kills { control.record(base_replace_child()) }
  show(harness, "C: awaited, another one forked, pipe", control)
}

private func show(_ harness: Harness, _ name: String, _ times: Histogram<UInt64>) {
  let values = [50, 90, 99, 100].map { Double(times.valueAtPercentile($0)) / 1000 }
  harness.note(pad(name, 46) + values.map { left(number($0), 11) }.joined())
  harness.addRecord([("table", .text("recovery")), ("name", .text(name)), ("us", .numbers(values))])
}

private enum Successor { case asks, watches, isForked }

/// Words that the processes have in common: which sender is ready to take over, and whose turn it is.
private struct Turn: Sendable {
  nonisolated(unsafe) let words = base_shared_words()!
  var ready: UInt64 { base_load(words) }
  func isReady(_ sender: UInt64) { base_store_word(words, sender) }
}

/// Senders number their messages; each is the type of its own messages. The receiver sees that none of them lacks one.
private func killed(_ kills: Int, next: Successor) throws -> Histogram<UInt64> {
  var region = try SharedRegion(creating: RegionLayout(.ring("there", capacity: 1 << 16)))
  let turn = Turn()
  var consumer = try region.consumer(of: "there")
  var times = Measured.emptyHistogram()
  var senders = [fork(0, turn, &region, next: next, after: nil)]
  var received = Received()
  defer { if let last = senders.last { end(last) } }
  for number in 1...kills {
    // It sends, and is killed in the middle of that.
    let enough = received.count(of: UInt16(number - 1)) + 3
    while received.count(of: UInt16(number - 1)) < enough { try received.take(from: &consumer) }
    let victim = senders.removeLast()
    if next != .isForked {
      senders.append(fork(UInt16(number), turn, &region, next: next, after: received.lane))
      while turn.ready != UInt64(number) { try received.take(from: &consumer) }
      // Long enough for one that sleeps to be asleep.
      let then = base_now_ns() + 1_000_000
      while base_now_ns() < then { try received.take(from: &consumer) }
    }
    let start = base_now_ns()
    base_kill(victim)
    if next == .isForked {
      _ = base_await(victim)
      senders.append(fork(UInt16(number), turn, &region, next: next, after: nil))
    }
    while received.count(of: UInt16(number)) == 0 { try received.take(from: &consumer) }
    times.record(base_now_ns() - start)
    if next != .isForked { _ = base_await(victim) }
  }
  return times
}

private func end(_ child: pid_t) {
  base_kill(child)
  _ = base_await(child)
}

private struct Received {
  private var sender: UInt16 = 0
  private var counted: UInt64 = 0
  /// Who sends now.
  private(set) var lane = PeerToken.none

  func count(of sender: UInt16) -> UInt64 { sender == self.sender ? counted : 0 }

  mutating func take(from consumer: inout RingConsumer) throws {
    var (sender, counted, token) = (self.sender, self.counted, lane)
    var isWhole = true
    let found: Void? = try consumer.tryReceive { bytes, type in
      if type != sender { (sender, counted) = (type, 0) }
      isWhole = bytes.unsafeLoad(as: UInt64.self) == counted
      token = PeerToken(rawValue: bytes.unsafeLoad(fromByteOffset: 8, as: UInt64.self))
      counted += 1
    }
    guard isWhole else { throw WorkDiffers(description: "a message is missing after a sender was killed") }
    (self.sender, self.counted, lane) = (sender, counted, token)
    if found == nil { base_yield() }
  }
}

private func fork(
  _ number: UInt16, _ turn: Turn, _ region: inout SharedRegion, next: Successor, after: PeerToken?
) -> pid_t {
  let child = base_fork()
  if child != 0 { return child }
  base_end_with_parent()
  do { try send(number, turn, &region, next: next, after: after) } catch { print(error) }
  base_exit(1)
  return child
}

/// What a sender does until it is killed.
private func send(
  _ number: UInt16, _ turn: Turn, _ region: inout SharedRegion, next: Successor, after: PeerToken?
) throws {
  try region.attachAfterFork()
  turn.isReady(UInt64(number))
  if next == .watches, let after { _ = region.watch(after).wait() }
  var producer = try takeLane(of: region)
  // Its number, and who sends it.
  var message: [UInt64] = [0, region.token.rawValue]
  while true {
    try producer.send(message.span.bytes, type: number)
    message[0] += 1
    base_yield()
  }
}

private func takeLane(of region: borrowing SharedRegion) throws -> RingProducer {
  while true {
    do throws(SharedMemoryError) { return try region.producer(of: "there") } catch {
      guard error.code == .taken else { throw error }
    }
    base_yield()
  }
}

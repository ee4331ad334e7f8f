// SPDX-License-Identifier: Apache-2.0

@_spi(Testing) import SharedMemory
import SystemPackage
import Testing
import _CTestSupport
import _TestSupport

#if canImport(Glibc)
  import Glibc
#elseif canImport(Darwin)
  import Darwin
#endif

/// SIGKILL at either end of a ring: at every named step, and at random.
@Suite(.serialized) struct RingKillTests {
  struct Scene: ~Copyable {
    let folder: TemporaryDirectory
    let region: SharedRegion

    init(capacity: Int = 256, producers: Int = 1) throws {
      let folder = try NamedRegionTests.folder()
      let layout = RegionLayout(.counters("sent", count: 4), .ring("ring", capacity: capacity, producers: producers))
      let region = try SharedRegion(creating: layout, named: "r", in: RuntimeFolder(folder.path))
      self.folder = folder
      self.region = region
    }

    func peer(_ verb: String, _ arguments: [String], killedAt step: String? = nil) throws -> RunningChild {
      try RunningChild(
        [RegionScene.peer, verb, folder.path.string, "r"] + arguments,
        environment: step.map { ["PAGEWISE_KILL_AT": $0] } ?? [:])
    }
  }

  /// What was received of runs that were killed somewhere.
  struct Received {
    private(set) var runs: [UInt64: UInt64] = [:]
    private(set) var complaints: [String] = []

    mutating func take(_ bytes: RawSpan, _ type: UInt16) {
      guard bytes.byteCount >= 16 else { return complaints.append("a message of \(bytes.byteCount) bytes") }
      let run = bytes.unsafeLoadUnaligned(fromByteOffset: 0, as: UInt64.self)
      let number = bytes.unsafeLoadUnaligned(fromByteOffset: 8, as: UInt64.self)
      let length = Int(run &* 7 &+ number &* 13) % 50
      let isWhole =
        bytes.byteCount == 16 + length && type == UInt16(truncatingIfNeeded: run)
        && (0..<length).allSatisfy {
          bytes.unsafeLoad(fromByteOffset: 16 + $0, as: UInt8.self)
            == UInt8(truncatingIfNeeded: Int(run &+ number) + $0)
        }
      if !isWhole { complaints.append("message \(number) of run \(run) is torn") }
      if number != runs[run, default: 0] {
        complaints.append("message \(number) of run \(run) after \(runs[run, default: 0]) of them")
      }
      runs[run, default: 0] = number + 1
    }

    var total: UInt64 { runs.values.reduce(0, +) }
  }

  /// Reached only where somebody is to be woken, and where there is nothing to do.
  static let wakeSteps = ["bell.ring.add", "sleepers.wake", "sleepers.store"]
  static let sleepSteps = [
    "bell.await.count", "sleepers.announce", "sleepers.raise", "sleepers.fence", "sleepers.sleep",
  ]
  static let producerSteps = [
    "owner.load", "owner.take", "ring.produce.tail", "ring.produce.head", "ring.produce.fence", "ring.reserve.head",
    "ring.reserve.fence",
    "ring.commit.filling",
    "ring.commit.header", "ring.commit.tail", "bell.ring.fence", "sleepers.wanted", "sleepers.woken", "bell.ring.add",
    "sleepers.wake", "sleepers.store", "bell.await.count", "sleepers.announce", "sleepers.raise", "sleepers.fence",
    "sleepers.sleep", "ring.leave",
  ]

  @Test(.enabled("debug builds only") { EventTests.killPointsAreThere() }, arguments: producerSteps)
  func `a producer killed at a step has sent what it counted and at most one more`(_ step: String) throws {
    let watchdog = Watchdog("killed at \(step)", seconds: 200)
    defer { watchdog.stop() }
    for pass in RegionScene.isLong ? [1, 2, 3, 5, 8, 13] : [1, 3] {
      // Once at the beginning is all that there is of these.
      if pass > 1, step.hasPrefix("owner") || step.hasPrefix("ring.produce") || step == "ring.leave" { continue }
      if pass > 1, Self.wakeSteps.contains(step) { continue }
      let scene = try Scene()
      let sent = try scene.region.counters("sent")
      var consumer = try scene.region.consumer(of: "ring")
      var received = Received()
      var victim = try scene.peer("produce", ["1", "40"], killedAt: "\(step):\(pass)")
      // Slowly, so that the producer meets a full ring and sleeps; or asleep before it comes, so that it has somebody to wake.
      let wakes = Self.wakeSteps.contains(step)
      let sleeps = Self.sleepSteps.contains(step)
      if !wakes { _ = RegionScene.eventually { victim.isOver || sent[0] > 2 } }
      if sleeps { usleep(20_000) }
      var isAsleep = 0
      while isAsleep < 5 || !victim.isOver {
        let count = (try? consumer.receive(upTo: 3, until: .after(.milliseconds(20))) { received.take($0, $1) }) ?? 0
        isAsleep = count == 0 ? isAsleep + 1 : 0
        if count > 0 { usleep(sleeps ? 5_000 : 200) }
      }
      Self.expectKilled(victim.wait(seconds: 20), step, pass)
      let counted = sent[0]
      #expect(
        received.complaints == [] && received.total >= counted && received.total <= counted + 1, "\(step):\(pass)")
      // Its successor sends at once.
      var successor = try scene.peer("produce", ["2", "40"])
      while received.runs[2] != 40 {
        try consumer.receive(upTo: 3, until: .after(.seconds(20))) { received.take($0, $1) }
      }
      #expect(successor.wait(seconds: 20) == 0 && received.complaints == [])
    }
  }

  /// Whether the other end slept just then is in nobody's hands on a busy machine; every other step is reached for certain.
  static func expectKilled(_ status: Int, _ step: String, _ pass: Int) {
    if status == 0, sleepSteps.contains(step) || wakeSteps.contains(step) {
      Skips.note("death at \(step):\(pass)", install: "a machine with less to do")
    } else {
      #expect(status == 256 + Int(SIGKILL), "\(step):\(pass) was not reached")
    }
  }

  @Test(
    .enabled("debug builds only") { EventTests.killPointsAreThere() }, arguments: ["ring.drop.load", "ring.drop.store"])
  func `a producer killed where it drops has counted all but one`(_ step: String) throws {
    let watchdog = Watchdog("killed at \(step)", seconds: 200)
    defer { watchdog.stop() }
    for pass in [1, 5] as [UInt64] {
      let scene = try Scene()
      var victim = try scene.peer("drop", [], killedAt: "\(step):\(pass)")
      #expect(victim.wait(seconds: 20) == 256 + Int(SIGKILL), "\(step):\(pass) was not reached")
      #expect(try scene.region.counters("sent")[0] == pass - 1)
      #expect(try scene.region.ringStatus("ring").lanes[0].droppedMessages == pass - 1)
      // The next one counts on.
      var successor = try scene.peer("drop", [])
      #expect(successor.wait(seconds: 20) == 0, "\(successor.output)")
      #expect(try scene.region.ringStatus("ring").lanes[0].droppedMessages == pass - 1 + 100)
      var consumer = try scene.region.consumer(of: "ring")
      check(try consumer.tryReceive(upTo: 100) { bytes, _ in check(bytes.byteCount == 16) } == 10, "what was sent")
    }
  }

  static let consumerSteps = [
    "owner.load", "owner.take", "ring.consume.head", "ring.consume.tail", "ring.next.tail", "ring.next.header",
    "ring.consume.store", "bell.ring.fence", "sleepers.wanted", "sleepers.woken", "bell.ring.add", "sleepers.wake",
    "sleepers.store", "bell.await.count", "sleepers.announce", "sleepers.raise", "sleepers.fence", "sleepers.sleep",
    "ring.leave",
  ]

  @Test(.enabled("debug builds only") { EventTests.killPointsAreThere() }, arguments: consumerSteps)
  func `a consumer killed at a step leaves to its successor what it has not given back`(_ step: String) throws {
    let watchdog = Watchdog("killed at \(step)", seconds: 200)
    defer { watchdog.stop() }
    for pass in RegionScene.isLong ? [1, 2, 3, 5, 8, 13] : [1, 3] {
      // Once at the beginning, or while the producer sleeps, is all that is sure.
      let isOnce = step.hasPrefix("owner") || ["ring.consume.head", "ring.consume.tail", "ring.leave"].contains(step)
      if pass > 1, isOnce || Self.wakeSteps.contains(step) { continue }
      let scene = try Scene()
      let marks = try scene.region.counters("sent")
      // The producer sleeps on a full ring before the victim comes; or it is so slow that the victim sleeps.
      let sleeps = Self.sleepSteps.contains(step)
      var producer = try scene.peer("produce", ["0", "60", sleeps ? "2000" : "0"])
      if !sleeps { usleep(30_000) }
      var victim = try scene.peer("consume", ["60"], killedAt: "\(step):\(pass)")
      Self.expectKilled(victim.wait(seconds: 20), step, pass)
      var successor = try scene.peer("consume", ["60"])
      #expect(successor.wait(seconds: 30) == 0, "\(successor.output)")
      #expect(producer.wait(seconds: 20) == 0, "\(producer.output)")
      #expect(marks[0] == 60 && marks[1] == 60 && marks[3] == 0, "\(step):\(pass): \((0..<4).map { marks[$0] })")
      // At most a batch came again.
      #expect(marks[2] <= 4, "\(step):\(pass)")
    }
  }

  @Test func `producers killed at random lose nothing that they counted`() throws {
    let scene = try Scene(capacity: 1024, producers: 2)
    let sent = try scene.region.counters("sent")
    var consumer = try scene.region.consumer(of: "ring")
    var received = Received()
    var random = Random(seed: 21)
    var recovery: [UInt64] = []
    try withWatchdog("killed producers", seconds: RegionScene.isLong ? 3600 : 300) {
      for run in 1...UInt64(RegionScene.kills) {
        var victim = try scene.peer("produce", ["\(run)", "1000000000"])
        let end = pgt_now_ns() + 3_000_000 + UInt64(random.below(15_000_000))
        while pgt_now_ns() < end || received.runs[run] == nil {
          _ = try? consumer.receive(upTo: 1 + random.below(20), until: .after(.milliseconds(1))) {
            received.take($0, $1)
          }
        }
        let before = pgt_now_ns()
        #expect(kill(victim.pid, SIGKILL) == 0)
        // Usable again: the lane is free for the next one, which this process is for a moment.
        var successor: RingProducer? = nil
        while successor == nil { successor = try? scene.region.producer(of: "ring") }
        recovery.append(pgt_now_ns() - before)
        _ = successor.take()
        victim.kill()
        while try consumer.tryReceive({ received.take($0, $1) }) != nil {}
        let total = received.total
        #expect(total >= sent[0] && total <= sent[0] + run, "run \(run): \(sent[0]) counted, \(total) received")
        if !received.complaints.isEmpty { break }
      }
    }
    #expect(received.complaints == [])
    recovery.sort()
    print(
      "killed producers: \(recovery.count), from the kill to a new producer p50 \(recovery[recovery.count / 2] / 1000) us, "
        + "p99 \(recovery[recovery.count * 99 / 100] / 1000) us; \(received.total) messages")
  }

  @Test func `consumers killed at random lose nothing and repeat at most a batch`() throws {
    let scene = try Scene(capacity: 1024)
    let marks = try scene.region.counters("sent")
    var random = Random(seed: 22)
    let count: UInt64 = 1 << 40
    try withWatchdog("killed consumers", seconds: RegionScene.isLong ? 3600 : 300) {
      var producer = try scene.peer("produce", ["0", "\(count)"])
      for round in 1...UInt64(RegionScene.kills) {
        let before = marks[1]
        var victim = try scene.peer("consume", ["\(count)"])
        pgt_sleep_us(UInt32(3_000 + random.below(15_000)))
        // Not before it has begun.
        #expect(RegionScene.eventually { marks[1] > before }, "\(victim.output)")
        victim.kill()
        #expect(marks[3] == 0 && marks[2] <= round * 4, "round \(round): \((0..<4).map { marks[$0] })")
        if marks[3] != 0 { break }
      }
      producer.kill()
    }
    print("killed consumers: \(RegionScene.kills), \(marks[1]) messages handled, \(marks[2]) came again")
  }
}

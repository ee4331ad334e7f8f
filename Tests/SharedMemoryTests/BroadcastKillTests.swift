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

/// SIGKILL at either end of a broadcast channel: at every named step, and at random.
@Suite(.serialized) struct BroadcastKillTests {
  struct Scene: ~Copyable {
    let folder: TemporaryDirectory
    let region: SharedRegion

    init(followers: Int = 2) throws {
      let folder = try NamedRegionTests.folder()
      let layout = RegionLayout(.counters("sent", count: 4), .broadcast("ticks", capacity: 512, followers: followers))
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

  /// What a reader has seen: message n holds n, three times and more.
  struct Seen {
    var last: UInt64 = 0
    var lost: UInt64 = 0
    var complaints: [String] = []

    mutating func take(_ bytes: RawSpan, _ message: BroadcastReader.Message) {
      let isWhole =
        bytes.byteCount == Int(message.number % 7 + 1) * 8
        && (0..<bytes.byteCount / 8).allSatisfy {
          bytes.unsafeLoadUnaligned(fromByteOffset: $0 * 8, as: UInt64.self) == message.number
        }
      if !isWhole { complaints.append("message \(message.number) is torn") }
      if message.number != last + 1 + message.lostBefore { complaints.append("\(message) after \(last)") }
      (last, lost) = (message.number, lost + message.lostBefore)
    }
  }

  static let writerSteps = [
    "owner.load", "owner.take", "broadcast.write.tail", "broadcast.write.intent", "broadcast.reserve.joins",
    "broadcast.look.token", "broadcast.look.head", "broadcast.reserve.intent", "broadcast.reserve.fence",
    "broadcast.write.word", "broadcast.commit.header", "broadcast.commit.number", "broadcast.commit.trailer",
    "broadcast.commit.tail", "bell.ring.fence", "sleepers.wanted",
  ]

  @Test(.enabled("debug builds only") { EventTests.killPointsAreThere() }, arguments: writerSteps)
  func `a writer killed at a step leaves whole messages, and its successor goes on with their numbers`(
    _ step: String
  ) throws {
    let watchdog = Watchdog("killed at \(step)", seconds: 200)
    defer { watchdog.stop() }
    // It looks at its followers once a lap at least, which is nine times in a hundred messages.
    for pass in [1, 2, step.hasPrefix("broadcast.look") ? 9 : 40] {
      if pass > 1, step.hasPrefix("owner") || step.hasPrefix("broadcast.write.tail") || step == "broadcast.write.intent"
      {
        continue
      }
      let scene = try Scene()
      var seen = Seen()
      var followed = Seen()
      var reader = try scene.region.broadcastReader(of: "ticks")
      var follower = try scene.region.broadcastReader(of: "ticks", losing: .nothing)
      var victim = try scene.peer("broadcast", ["100"], killedAt: "\(step):\(pass)")
      while !victim.isOver { _ = try? follower.receive(until: .after(.milliseconds(5))) { followed.take($0, $1) } }
      #expect(victim.wait(seconds: 20) == 256 + Int(SIGKILL), "\(step):\(pass) was not reached")
      // The next one sends to the end.
      var successor = try scene.peer("broadcast", ["200"])
      while followed.last < 200 { try follower.receive(until: .after(.seconds(20))) { followed.take($0, $1) } }
      #expect(successor.wait(seconds: 20) == 0)
      while try reader.tryReceive({ seen.take($0, $1) }) != nil {}
      #expect(seen.complaints == [] && followed.complaints == [] && followed.lost == 0, "\(step):\(pass)")
      #expect(seen.last == 200 && seen.lost > 0)
    }
  }

  /// What another process does, so that the victim comes to the step.
  enum Cause: String, Sendable {
    case noFollowers, deadFollower, idleFollower, sleepingFollower
  }

  static let rareSteps: [(String, Cause, [String])] = [
    ("broadcast.reserve.release", .noFollowers, []), ("broadcast.look.free", .deadFollower, []),
    ("broadcast.drop.load", .idleFollower, ["drop"]), ("broadcast.drop.store", .idleFollower, ["drop"]),
    ("bell.await.count", .idleFollower, []), ("sleepers.announce", .idleFollower, []),
    ("sleepers.raise", .idleFollower, []), ("sleepers.fence", .idleFollower, []),
    ("sleepers.sleep", .idleFollower, []), ("sleepers.woken", .sleepingFollower, []),
    ("bell.ring.add", .sleepingFollower, []), ("sleepers.wake", .sleepingFollower, []),
    ("sleepers.store", .sleepingFollower, []),
  ]

  @Test(.enabled("debug builds only") { EventTests.killPointsAreThere() }, arguments: rareSteps)
  func `a writer killed where it waits, drops or wakes leaves everything to its successor`(
    _ step: String, _ cause: Cause, _ arguments: [String]
  ) throws {
    let watchdog = Watchdog("killed at \(step)", seconds: 200)
    defer { watchdog.stop() }
    let scene = try Scene(followers: cause == .noFollowers ? 0 : 2)
    var other: RunningChild? = nil
    var idle: BroadcastReader? = nil
    switch cause {
    case .noFollowers: break
    case .idleFollower: idle = try scene.region.broadcastReader(of: "ticks", losing: .nothing)
    case .deadFollower, .sleepingFollower:
      other = try scene.peer("follow", [])
      #expect(RegionScene.eventually { (try? scene.region.broadcastStatus("ticks").followers.count) == 1 })
      // Asleep, once the spin is over.
      usleep(100_000)
      if cause == .deadFollower { other?.kill() }
    }
    let pass = step == "broadcast.drop.load" || step == "broadcast.drop.store" ? 5 : 1
    var victim = try scene.peer("broadcast", ["100"] + arguments, killedAt: "\(step):\(pass)")
    #expect(victim.wait(seconds: 20) == 256 + Int(SIGKILL), "\(step) was not reached")
    let counted = try scene.region.counters("sent")[0]
    let dropped = try scene.region.broadcastStatus("ticks").droppedMessages
    #expect(counted <= dropped + 1 && dropped <= counted + 1, "\(counted), \(dropped)")
    #expect(arguments.isEmpty || counted == UInt64(pass - 1))
    var successor = try scene.peer("broadcast", ["200"])
    if var follower = idle.take() {
      var seen = Seen()
      while seen.last < 200 { try follower.receive(until: .after(.seconds(20))) { seen.take($0, $1) } }
      #expect(seen.complaints == [] && seen.lost == 0)
    }
    #expect(successor.wait(seconds: 20) == 0)
    var last = Seen()
    var reader = try scene.region.broadcastReader(of: "ticks", from: .oldest)
    while try reader.tryReceive({ last.last = $1.number }) != nil {}
    #expect(last.last == 200)
    if cause == .sleepingFollower {
      #expect(
        RegionScene.eventually { (try? scene.region.broadcastStatus("ticks").followers.first?.waitingBytes) == 0 })
      #expect(try scene.region.counters("sent")[3] == 0)
    }
    other?.kill()
  }

  static let sleepSteps = [
    "bell.await.count", "sleepers.announce", "sleepers.raise", "sleepers.fence", "broadcast.await.tail",
    "sleepers.sleep",
  ]

  @Test(.enabled("debug builds only") { EventTests.killPointsAreThere() }, arguments: sleepSteps)
  func `a follower killed on its way to sleep holds the writer up no longer`(_ step: String) throws {
    let watchdog = Watchdog("killed at \(step)", seconds: 200)
    defer { watchdog.stop() }
    let scene = try Scene()
    var victim = try scene.peer("follow", [], killedAt: step)
    #expect(victim.wait(seconds: 20) == 256 + Int(SIGKILL), "\(step) was not reached")
    var writer = try scene.region.broadcastWriter(of: "ticks")
    for number in 1...100 as ClosedRange<UInt64> {
      try writer.send([number].span.bytes, until: .after(.seconds(20)))
    }
    #expect(try scene.region.broadcastStatus("ticks").followers == [])
  }

  static let followerSteps = [
    "owner.load", "owner.take", "broadcast.begin.tail", "broadcast.back.trailer", "broadcast.follow.head",
    "broadcast.follow.joins", "broadcast.follow.add", "broadcast.follow.fence", "broadcast.follow.intent",
    "broadcast.next.tail", "broadcast.next.header", "broadcast.read.number", "broadcast.read.word",
    "broadcast.give.head",
    "bell.ring.fence", "sleepers.wanted",
  ]

  @Test(.enabled("debug builds only") { EventTests.killPointsAreThere() }, arguments: followerSteps)
  func `a follower killed at a step holds the writer up no longer, and its place is taken again`(
    _ step: String
  ) throws {
    let watchdog = Watchdog("killed at \(step)", seconds: 200)
    defer { watchdog.stop() }
    for pass in [1, 2, 17] {
      if pass > 1, step.hasPrefix("owner") || step.hasPrefix("broadcast.follow") { continue }
      if pass > 1, step.hasPrefix("broadcast.begin") || step.hasPrefix("broadcast.back") { continue }
      let scene = try Scene()
      var writer = try scene.region.broadcastWriter(of: "ticks")
      var number: UInt64 = 1
      func send(_ writer: inout BroadcastWriter) throws {
        let words = [UInt64](repeating: number, count: Int(number % 7 + 1))
        try writer.send(words.span.bytes, until: .after(.seconds(20)))
        number += 1
      }
      for _ in 0..<20 { try send(&writer) }
      var victim = try scene.peer("follow", [], killedAt: "\(step):\(pass)")
      while !victim.isOver {
        try send(&writer)
        usleep(200)
      }
      #expect(victim.wait(seconds: 20) == 256 + Int(SIGKILL), "\(step):\(pass) was not reached")
      for _ in 0..<100 { try send(&writer) }
      // Both places are there again.
      let first = try scene.region.broadcastReader(of: "ticks", losing: .nothing)
      let second = try scene.region.broadcastReader(of: "ticks", losing: .nothing)
      #expect(try scene.region.counters("sent")[3] == 0, "\(step):\(pass)")
      _ = (first.lostCount, second.lostCount)
    }
  }

  @Test func `writers and followers killed at random hold nobody up and tear nothing`() throws {
    let scene = try Scene()
    var random = Random(seed: 31)
    var seen = Seen()
    var recovery: [UInt64] = []
    var reader = try scene.region.broadcastReader(of: "ticks")
    // A writer and a follower each time.
    let kills = RegionScene.kills / 2
    try withWatchdog("killed broadcasters", seconds: RegionScene.isLong ? 7200 : 300) {
      for round in 1...kills {
        var writer = try scene.peer("broadcast", ["\(UInt64.max >> 2)"])
        var follower = try scene.peer("follow", [])
        let before = seen.last
        let end = pgt_now_ns() + 2_000_000 + UInt64(random.below(10_000_000))
        while pgt_now_ns() < end || seen.last == before {
          _ = try? reader.receive(upTo: 1 + random.below(20), until: .after(.milliseconds(1))) { seen.take($0, $1) }
        }
        // The follower first, or the writer first: the other one goes on, or its successor does.
        if round % 2 == 0 {
          follower.kill()
          let before = seen.last
          let start = pgt_now_ns()
          while seen.last < before + 100 {
            _ = try? reader.receive(upTo: 9, until: .after(.seconds(20))) { seen.take($0, $1) }
          }
          #expect(pgt_now_ns() - start < 20_000_000_000)
        }
        let moment = pgt_now_ns()
        #expect(kill(writer.pid, SIGKILL) == 0)
        var successor: BroadcastWriter? = nil
        while successor == nil { successor = try? scene.region.broadcastWriter(of: "ticks") }
        recovery.append(pgt_now_ns() - moment)
        _ = successor.take()
        writer.kill()
        follower.kill()
        if !seen.complaints.isEmpty { break }
      }
    }
    #expect(seen.complaints == [])
    let counters = try scene.region.counters("sent")
    #expect(counters[3] == 0, "a follower lost or saw something torn")
    recovery.sort()
    print(
      "killed broadcasters: \(recovery.count), from the kill to a new writer p50 \(recovery[recovery.count / 2] / 1000) us, "
        + "p99 \(recovery[recovery.count * 99 / 100] / 1000) us; \(seen.last) messages, the slow reader lost \(seen.lost)"
    )
  }
}

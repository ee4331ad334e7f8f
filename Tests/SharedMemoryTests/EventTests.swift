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

/// Signals between real processes.
@Suite struct EventTests {
  @Test func `a wait ends with the signal, at once when it came before, and by its deadline`() throws {
    let region = try SharedRegion(creating: RegionScene.layout())
    let event = try region.event("ping")
    #expect(event.count == 0)
    #expect(code { _ = try event.wait(after: 0, until: .now) } == .timedOut)
    let start = pgt_now_ns()
    #expect(code { _ = try event.wait(after: 0, until: .after(.milliseconds(30))) } == .timedOut)
    #expect(pgt_now_ns() - start >= 30_000_000)
    event.signal()
    #expect(try event.wait(after: 0) == 1 && event.wait(after: 0, until: .now) == 1)
    event.signal()
    event.signal()
    #expect(try event.wait(after: 1) == 3)
  }

  @Test func `what was signalled before is told also when the deadline has passed`() throws {
    let region = try SharedRegion(creating: RegionLayout(.event("e")))
    let event = try region.event("e")
    event.signal()
    let past = Deadline.after(.nanoseconds(1))
    usleep(10)
    #expect(try event.wait(after: 0, until: past) == 1 && event.wait(after: 0, until: .now) == 1)
    #expect(code { _ = try event.wait(after: 1, until: past) } == .timedOut)
  }

  @Test func `deadlines are what they say`() {
    #expect(Deadline.after(.seconds(-1)) == .now && Deadline.after(.zero) > .now)
    #expect(Deadline.after(.seconds(Int64.max)) == .never && Deadline.after(.seconds(1) * 1_000_000_000_000) == .never)
    #expect(Deadline.after(.seconds(1)) < Deadline.after(.seconds(5)) && Deadline.after(.seconds(1)) < .never)
  }

  @Test func `two processes signal each other many times and miss none`() throws {
    let scene = try PeerTests.Scene()
    let rounds = RegionScene.isLong ? 200_000 : 20_000
    var child = try RunningChild([RegionScene.peer, "signal"] + scene.arguments + ["\(rounds)"])
    let (ping, pong) = (try scene.region.event("ping"), try scene.region.event("pong"))
    try withWatchdog("ping and pong", seconds: 240) {
      var seen: UInt32 = 0
      for round in 1...UInt32(rounds) {
        seen = try ping.wait(after: seen)
        #expect(seen == round)
        pong.signal()
      }
    }
    #expect(child.wait(seconds: 20) == 0, "\(child.output)")
  }

  @Test func `a stopped sleeper is woken when it goes on`() throws {
    let scene = try PeerTests.Scene()
    let child = try scene.peer("wait")
    _ = try scene.token(child)
    let ping = try scene.region.event("ping")
    usleep(50_000)
    #expect(kill(child.pid, SIGSTOP) == 0)
    ping.signal()
    #expect(kill(child.pid, SIGCONT) == 0)
    #expect(child.line("woke ") == "1")
  }

  static let signalSteps = [
    "event.signal.add", "event.signal.fence", "sleepers.wanted", "sleepers.woken", "sleepers.wake", "sleepers.store",
  ]
  static let waitSteps = [
    "event.wait.spin", "sleepers.announce", "sleepers.raise", "sleepers.fence", "event.wait.check", "sleepers.sleep",
    "event.wait.woken",
  ]

  @Test(.enabled("debug builds only") { killPointsAreThere() }, arguments: signalSteps)
  func `a signaller killed at a step leaves nobody asleep`(_ step: String) throws {
    let watchdog = Watchdog("killed at \(step)", seconds: 200)
    defer { watchdog.stop() }
    let scene = try PeerTests.Scene()
    // Somebody sleeps when the victim signals: the clearing and the wake are reached by that alone.
    let sleeper = try scene.peer("wait")
    _ = try scene.token(sleeper)
    let ping = try scene.region.event("ping")
    usleep(100_000)
    var victim = try RunningChild(
      [RegionScene.peer, "signal"] + scene.arguments + ["1"], environment: ["PAGEWISE_KILL_AT": step])
    #expect(victim.wait(seconds: 20) == 256 + Int(SIGKILL), "\(victim.output)")
    if step == "event.signal.add" {
      #expect(ping.count == 0)
      ping.signal()
    }
    // Without anybody's help: by the sleeper's own patience.
    #expect(sleeper.line("woke ") == "1", "\(sleeper.output)")
    ping.signal()
    #expect(sleeper.line("woke 2") != nil)
  }

  @Test(.enabled("debug builds only") { killPointsAreThere() }, arguments: waitSteps)
  func `a waiter killed at a step costs the others nothing`(_ step: String) throws {
    let watchdog = Watchdog("killed at \(step)", seconds: 200)
    defer { watchdog.stop() }
    let scene = try PeerTests.Scene()
    let ping = try scene.region.event("ping")
    var victim = try scene.peer("wait", environment: ["PAGEWISE_KILL_AT": step])
    _ = try scene.token(victim)
    if step == "event.wait.woken" {
      usleep(50_000)
      ping.signal()
    }
    #expect(victim.wait(seconds: 20) == 256 + Int(SIGKILL), "\(victim.output)")
    let sleeper = try scene.peer("wait")
    _ = try scene.token(sleeper)
    ping.signal()
    #expect(sleeper.line("woke ") != nil)
    ping.signal()
    #expect(sleeper.line("woke \(ping.count)") != nil)
  }

  @Test func `signallers and waiters killed at random leave nobody asleep`() throws {
    let scene = try PeerTests.Scene()
    let (ping, pong) = (try scene.region.event("ping"), try scene.region.event("pong"))
    let served = try scene.region.counters("served")
    var random = Random(seed: 51)
    var exchanges = 0
    try withWatchdog("killed signallers and waiters", seconds: RegionScene.isLong ? 3600 : 300) {
      let witness = try scene.peer("heed")
      _ = try scene.token(witness)
      for round in 0..<RegionScene.kills {
        let signals = round % 2 == 0
        var seen = ping.count
        var victim =
          signals
          ? try RunningChild([RegionScene.peer, "signal"] + scene.arguments + ["1000000000"])
          : try scene.peer("wait")
        _ = try scene.token(victim)
        let end = pgt_now_ns() + UInt64(random.below(3_000_000))
        while pgt_now_ns() < end {
          if signals {
            seen = try ping.wait(after: seen, until: .after(.seconds(20)))
            pong.signal()
          } else {
            ping.signal()
          }
          exchanges += 1
        }
        victim.kill()
        // Wherever it was, one signal more reaches who waits.
        ping.signal()
        let last = UInt64(ping.count)
        #expect(RegionScene.eventually { served[0] == last }, "round \(round): \(served[0]) of \(last)")
        if served[0] != last { break }
      }
    }
    print("killed signallers and waiters: \(RegionScene.kills), \(exchanges) signals between")
  }

  static func killPointsAreThere() -> Bool {
    Skips.require(KillPoints.areCompiledIn, "death at named steps", install: "a debug build")
  }
}

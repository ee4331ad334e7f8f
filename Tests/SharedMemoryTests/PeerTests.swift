// SPDX-License-Identifier: Apache-2.0

import SharedMemory
import SystemPackage
import Testing
import _CTestSupport
import _TestSupport

#if canImport(Glibc)
  import Glibc
#elseif canImport(Darwin)
  import Darwin
#endif

/// Who lives, by proof of the kernel.
@Suite struct PeerTests {
  /// A named region in a folder of its own.
  struct Scene: ~Copyable {
    let folder: TemporaryDirectory
    let region: SharedRegion
    var arguments: [String] { [folder.path.string, "r"] }

    init(peers: Int = 64) throws {
      let folder = try NamedRegionTests.folder()
      let region = try SharedRegion(
        creating: RegionScene.layout(peers: peers), named: "r", in: RuntimeFolder(folder.path))
      self.folder = folder
      self.region = region
    }

    func peer(_ verb: String, environment: [String: String] = [:]) throws -> RunningChild {
      try RunningChild([RegionScene.peer, verb] + arguments, environment: environment)
    }

    func token(_ child: borrowing RunningChild, _ prefix: String = "attached ") throws -> PeerToken {
      try #require(RegionScene.token(child.line(prefix)), "\(child.output)")
    }
  }

  @Test func `a killed peer is dead at once, also while nobody has awaited it`() throws {
    let scene = try Scene()
    let child = try scene.peer("attach")
    let token = try scene.token(child)
    #expect(
      !scene.region.isDead(token) && scene.region.peers().contains { $0.token == token && $0.process == child.pid })
    child.killUnawaited()
    #expect(kill(child.pid, 0) == 0, "its number still says that it lives")
    #expect(RegionScene.eventually { scene.region.isDead(token) })
    #expect(scene.region.peers().first { $0.token == token }?.isDead == true)
  }

  @Test func `a stopped peer lives`() throws {
    let scene = try Scene()
    let child = try scene.peer("attach")
    let token = try scene.token(child)
    #expect(kill(child.pid, SIGSTOP) == 0)
    let until = pgt_now_ns() + (RegionScene.isLong ? 30_000_000_000 : 1_500_000_000)
    while pgt_now_ns() < until {
      check(!scene.region.isDead(token))
      usleep(20_000)
    }
    let watch = scene.region.watch(token)
    check(!watch.wait(until: .after(.milliseconds(300))))
    #expect(kill(child.pid, SIGCONT) == 0)
    check(!scene.region.isDead(token))
  }

  @Test func `a peer that becomes another program is gone, though its process lives`() throws {
    let scene = try Scene()
    let child = try scene.peer("exec")
    let token = try scene.token(child)
    let watch = scene.region.watch(token)
    check(watch.wait(until: .after(.seconds(20))))
    #expect(kill(child.pid, 0) == 0 && scene.region.isDead(token))
  }

  @Test func `a forked child does not keep its parent alive, and knows that it has no place`() throws {
    let scene = try Scene()
    var child = try scene.peer("fork")
    let token = try scene.token(child)
    let grandchild = try #require(child.line("forked ").flatMap { Int32($0) }, "\(child.output)")
    defer { kill(grandchild, SIGKILL) }
    #expect(child.line("child: ") == "forked" && !child.output.contains("no error"))
    check(!scene.region.isDead(token))
    child.kill()
    #expect(RegionScene.eventually { scene.region.isDead(token) })
    #expect(kill(grandchild, 0) == 0, "the child outlives it")
  }

  @Test func `a forked child can use none of the ends it has copies of, and giving them up takes nothing away`() throws
  {
    let scene = try Scene()
    var child = try scene.peer("fork-ends")
    #expect(child.wait(seconds: 20) == 0, "\(child.output)")
    let lines = Set(child.output.split(separator: "\n").map(String.init))
    let tries = [
      "send", "send in place", "receive", "receive a batch", "broadcast", "follow", "store", "lock", "wait", "open",
    ]
    #expect(lines == Set(tries.map { "\($0): forked" } + ["parent: 2 2 true"]))
  }

  @Test func `a forked child that attaches has a place of its own`() throws {
    let scene = try Scene()
    var child = try scene.peer("attach-forked")
    let token = try scene.token(child)
    let grandchild = try #require(child.line("forked ").flatMap { Int32($0) }, "\(child.output)")
    defer { kill(grandchild, SIGKILL) }
    let second = try scene.token(child, "child attached ")
    #expect(second != token && !scene.region.isDead(second))
    #expect(scene.region.peers().first { $0.token == second }?.process == grandchild)
    child.kill()
    #expect(RegionScene.eventually { scene.region.isDead(token) } && !scene.region.isDead(second))
    kill(grandchild, SIGKILL)
    #expect(RegionScene.eventually { scene.region.isDead(second) })
  }

  @Test(.rootOnly("PID namespaces")) func `a peer in another PID namespace is judged like any other`() throws {
    guard Skips.require(Skips.hasProgram("unshare"), "PID namespaces", install: "apt-get install util-linux") else {
      return
    }
    let scene = try Scene()
    var child = try RunningChild(
      ["unshare", "--pid", "--fork", "--kill-child", "--mount-proc", RegionScene.peer, "attach"] + scene.arguments)
    let token = try scene.token(child)
    let peer = try #require(scene.region.peers().first { $0.token == token })
    #expect(!peer.isDead && peer.process == 1 && peer.pidNamespace != scene.region.peers()[0].pidNamespace)
    let watch = scene.region.watch(token)
    #expect(watch.descriptor == nil, "process 1 here is another one")
    check(!watch.wait(until: .after(.milliseconds(200))))
    child.kill()
    #expect(watch.wait(until: .after(.seconds(20))) && scene.region.isDead(token))
  }

  @Test func `word of a death comes by itself`() throws {
    let scene = try Scene()
    var child = try scene.peer("attach")
    let watch = scene.region.watch(try scene.token(child))
    #expect(watch.descriptor != nil && !watch.wait(until: .now))
    child.kill()
    check(watch.wait(until: .after(.seconds(20))))
    var asked = pollfd(fd: watch.descriptor!.rawValue, events: Int16(POLLIN), revents: 0)
    #expect(poll(&asked, 1, 0) == 1)
    // Of one who was never there.
    let nobody = scene.region.watch(PeerToken(rawValue: 9 << 16 | 3))
    #expect(nobody.descriptor == nil && nobody.wait(until: .now))
  }

  @Test func `places of the dead are given again, under a token that was never used`() throws {
    let scene = try Scene(peers: 3)
    var tokens: Set<PeerToken> = [scene.region.token]
    let second = try SharedRegion(named: "r", in: RuntimeFolder(scene.folder.path))
    #expect(tokens.insert(second.token).inserted)
    for _ in 0..<5 {
      var child = try scene.peer("attach")
      let token = try scene.token(child)
      #expect(token.description.hasPrefix("2."), "the one place that is left")
      #expect(tokens.insert(token).inserted, "\(token)")
      let error = code { _ = try SharedRegion(named: "r", in: RuntimeFolder(scene.folder.path)) }
      #expect(error == .peersExhausted)
      child.kill()
      #expect(RegionScene.eventually { scene.region.isDead(token) })
    }
    for token in tokens where token != scene.region.token && token != second.token {
      check(scene.region.isDead(token))
    }
    // A reader needs no place.
    #expect(try SharedRegionReader(named: "r", in: RuntimeFolder(scene.folder.path)).peers().count >= 2)
  }

  @Test func `tokens that are none belong to nobody`() throws {
    let region = try SharedRegion(creating: RegionScene.layout(peers: 2))
    var random = Random(seed: 5)
    for raw in [0, 1, 2, 0xFFFF, 1 << 16 | 0xFFFF, .max, .max - 0xFFFF] as [UInt64]
      + (0..<1000).map({ _ in random.next() << 8 })
    {
      let token = PeerToken(rawValue: raw)
      #expect(region.isDead(token) || token == region.token)
    }
  }

  static let steps: [(String, [Int])] = [
    ("region.attach.lock", [1, 2]), ("region.attach.map", [1, 2]), ("peers.claim.lock", [1, 2, 3]),
    ("peers.claim.empty", [1, 2]), ("peers.claim.field", [1, 4, 5, 7, 10, 12]), ("peers.claim.token", [1, 2]),
    ("peers.release.token", [1, 2]), ("peers.release.lock", [1, 2]),
  ]

  @Test(.enabled("debug builds only") { EventTests.killPointsAreThere() }, arguments: steps)
  func `a peer killed at a step of coming or going leaves its place to others, and no half of itself`(
    _ step: String, _ passes: [Int]
  ) throws {
    for pass in passes {
      let scene = try Scene(peers: 3)
      let own = scene.region.token
      var victim = try scene.peer("churn", environment: ["PAGEWISE_KILL_AT": "\(step):\(pass)"])
      #expect(victim.wait(seconds: 20) == 256 + Int(SIGKILL), "\(step):\(pass) was not reached")
      let used = Set(victim.output.split(separator: "\n").compactMap { RegionScene.token(String($0)) })
      check(!scene.region.isDead(own))
      for peer in scene.region.peers() where peer.token != own {
        #expect(peer.isDead && peer.process == victim.pid && peer.label == "_RegionPeer", "\(step):\(pass): \(peer)")
      }
      // Both other places can be had, by tokens that were never anybody's.
      let runtime = RuntimeFolder(scene.folder.path)
      let one = try SharedRegion(named: "r", in: runtime)
      let two = try SharedRegion(named: "r", in: runtime)
      #expect(Set([own, one.token, two.token]).count == 3 && used.isDisjoint(with: [one.token, two.token]))
      let peers = scene.region.peers()
      #expect(peers.count == 3 && peers.allSatisfy { !$0.isDead })
      #expect(code { _ = try SharedRegion(named: "r", in: runtime) } == .peersExhausted)
    }
  }

  @Test func `peers killed at random while they come and go leave every place usable`() throws {
    let scene = try Scene(peers: 4)
    var random = Random(seed: 8)
    let kills = RegionScene.kills
    var comings = 0
    for _ in 0..<kills {
      var child = try scene.peer("churn")
      #expect(child.line("") != nil, "it came at least once")
      pgt_sleep_us(UInt32(random.below(4_000)))
      child.kill()
      comings += child.output.split(separator: "\n").count
      check(!scene.region.isDead(scene.region.token))
    }
    #expect(comings > kills)
    #expect(RegionScene.eventually { scene.region.peers().allSatisfy { $0.isDead || $0.token == scene.region.token } })
    // All three others can be had at the same time.
    let runtime = RuntimeFolder(scene.folder.path)
    let one = try SharedRegion(named: "r", in: runtime)
    let two = try SharedRegion(named: "r", in: runtime)
    let three = try SharedRegion(named: "r", in: runtime)
    #expect(Set([one.token, two.token, three.token, scene.region.token]).count == 4)
    #expect(code { _ = try SharedRegion(named: "r", in: runtime) } == .peersExhausted)
  }
}

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

/// Looking at regions and rings from outside, and taking away what nobody uses.
@Suite struct ListingTests {
  @Test func `what waits in an unused region is said, and numbers that no ring holds count for nothing`() throws {
    let folder = try NamedRegionTests.folder()
    let runtime = RuntimeFolder(folder.path)
    do {
      let region = try SharedRegion(
        creating: RegionLayout(.ring("r", capacity: 256), .ring("s", capacity: 256, producers: 2)), named: "a",
        in: runtime)
      var one = try region.producer(of: "r")
      var other = try region.producer(of: "s")
      check(try one.trySend(Array("a mark to be found".utf8).span.bytes), "room")
      check(try other.trySend([UInt8](repeating: 1, count: 8).span.bytes), "room")
    }
    func waiting() throws -> [UInt64] {
      let listed = try runtime.regions().map(\.waitingBytes)
      #expect(try runtime.removeUnused(isDryRun: true).map(\.waitingBytes) == listed)
      return listed
    }
    #expect(try waiting() == [32 + 16])
    let file = try FileDescriptor.open(folder.appending("a.region"), .readWrite)
    defer { try? file.close() }
    var bytes = [UInt8](repeating: 0, count: Int(try file.seek(offset: 0, from: .end)))
    _ = try bytes.withUnsafeMutableBytes { try file.read(fromAbsoluteOffset: 0, into: $0) }
    let mark = Array("a mark to be found".utf8)
    let at = try #require((0..<bytes.count - mark.count).first { bytes[$0..<$0 + mark.count].elementsEqual(mark) })
    // The message's word is before it, the lane's three lines before that; the tail is the first word.
    let tail = Int64(at - 8 - 384)
    for hostile in [257, 1 << 62, .max] as [UInt64] {
      try withUnsafeBytes(of: hostile) { _ = try file.writeAll(toAbsoluteOffset: tail, $0) }
      #expect(try waiting() == [16], "\(hostile)")
    }
  }

  @Test func `a folder's regions are listed with who uses them, and a folder that is missing has none`() throws {
    let folder = try NamedRegionTests.folder()
    let runtime = RuntimeFolder(folder.path)
    #expect(try RuntimeFolder(folder.appending("missing")).regions().isEmpty)
    let region = try SharedRegion(creating: RegionScene.layout(), named: "used", in: runtime, label: "me")
    do { _ = try SharedRegion(creating: RegionScene.layout(), named: "left", in: runtime) }
    try folder.file("broken.region", Array("no region".utf8))
    try folder.file("other", [1])
    let found = try runtime.regions()
    #expect(found.map(\.name) == ["broken", "left", "used"])
    #expect(found.map(\.isUsed) == [false, false, true])
    #expect(found.map { $0.problem?.code } == [.notARegion, nil, nil])
    #expect(found[2].identifier == region.identifier && found[2].byteCount == Int64(region.byteCount))
    #expect(found[2].layout == RegionScene.layout() && found[2].createdNanoseconds > 0)
    #expect(found[2].peers.map(\.token) == [region.token] && found[2].peers.map(\.label) == ["me"])
    let peersOfLeft = found[1].peers
    #expect(peersOfLeft.allSatisfy { $0.isDead })
    // Looking attaches nothing.
    #expect(region.peers().count == 1)
    #expect(try runtime.region(named: "used") == found[2])
    #expect(try runtime.region(named: "nobody") == nil)
    #expect(code { _ = try runtime.region(named: "a/b") } == .invalidArgument)
  }

  @Test func `only what nobody is attached to is taken away, and a dry run takes nothing`() throws {
    let folder = try NamedRegionTests.folder()
    let runtime = RuntimeFolder(folder.path)
    let region = try SharedRegion(creating: RegionScene.layout(), named: "used", in: runtime)
    do { _ = try SharedRegion(creating: RegionScene.layout(), named: "left", in: runtime) }
    var child = try RunningChild([RegionScene.peer, "make", folder.path.string, "killed"])
    #expect(child.line("attached ") != nil, "\(child.output)")
    try folder.file("broken.region", Array("no region".utf8))
    func outcomes(isDryRun: Bool) throws -> [String] {
      try runtime.removeUnused(isDryRun: isDryRun).map {
        switch $0.outcome {
        case .unused: "\($0.name) unused"
        case .inUse: "\($0.name) in use"
        case .isGone: "\($0.name) gone"
        case .failed(let error): "\($0.name) \(error.code)"
        }
      }
    }
    #expect(try outcomes(isDryRun: true) == ["broken notARegion", "killed in use", "left unused", "used in use"])
    // Stopped is not gone.
    #expect(kill(child.pid, SIGSTOP) == 0)
    #expect(try outcomes(isDryRun: false) == ["broken notARegion", "killed in use", "left unused", "used in use"])
    child.kill()
    #expect(
      RegionScene.eventually {
        (try? outcomes(isDryRun: true)) == ["broken notARegion", "killed unused", "used in use"]
      })
    #expect(try outcomes(isDryRun: false) == ["broken notARegion", "killed unused", "used in use"])
    #expect(try runtime.regions().map(\.name) == ["broken", "used"])
    #expect(region.peers().count == 1)
  }

  @Test func `whoever cleans can be killed anywhere, and takes nothing that is used`() throws {
    let folder = try NamedRegionTests.folder()
    let runtime = RuntimeFolder(folder.path)
    let used = try SharedRegion(creating: RegionScene.layout(), named: "used", in: runtime)
    var random = Random(seed: 61)
    try withWatchdog("killed cleaners", seconds: RegionScene.isLong ? 3600 : 200) {
      // Two each time.
      for round in 0..<RegionScene.kills / 2 {
        var first = try RunningChild([RegionScene.peer, "clean", folder.path.string, "-"])
        var second = try RunningChild([RegionScene.peer, "clean", folder.path.string, "-"])
        #expect(RegionScene.eventually { first.output.contains("cleans") && second.output.contains("cleans") })
        pgt_sleep_us(UInt32(random.below(5_000)))
        first.kill()
        second.kill()
        // The used one is there, and the same; of the leftovers each is whole, and can be taken away or taken over.
        let found = try SharedRegion(named: "used", in: runtime)
        #expect(found.identifier == used.identifier, "round \(round)")
        for listing in try runtime.regions() { #expect(listing.problem == nil, "round \(round): \(listing)") }
        let next = try SharedRegion(
          creating: RegionScene.layout(), named: "left-0", leftover: .replaceUnused, in: runtime)
        _ = next.token
      }
    }
    _ = try runtime.removeUnused(isDryRun: false)
    #expect(try runtime.regions().map(\.name) == ["used"])
    #expect(try runtime.regions().first?.identifier == used.identifier)
  }

  @Test func `a ring's status counts what was sent, received and dropped, and knows the dead`() throws {
    let region = try SharedRegion(creating: RegionLayout(.ring("r", capacity: 64, producers: 2)))
    let reader = try SharedRegionReader(inheriting: region.descriptorForChild(as: .readOnly))
    let empty = try reader.ringStatus("r")
    #expect(empty.consumer == .none && empty.capacity == 64 && empty.lanes.count == 2)
    #expect(empty.lanes.allSatisfy { $0.producer == .none && !$0.isProducerDead && $0.waitingBytes == 0 })
    do {
      var producer = try region.producer(of: "r")
      var consumer = try region.consumer(of: "r")
      for value in 0..<4 as Range<UInt8> { #expect(try RingTests.send(&producer, [value])) }
      let one: [UInt8] = [9]
      for _ in 0..<3 { #expect(try !producer.sendOrDrop(one.span.bytes)) }
      #expect(try RingTests.receive(&consumer) == [0])
      let status = try reader.ringStatus("r")
      #expect(status.consumer == region.token && !status.isConsumerDead)
      let lane = status.lanes[0]
      #expect(lane.producer == region.token && !lane.isProducerDead && lane.droppedMessages == 3)
      #expect(lane.sentBytes == 64 && lane.receivedBytes == 16 && lane.waitingBytes == 48)
      let own = try region.ringStatus("r")
      #expect(status == own)
    }
    let left = try reader.ringStatus("r")
    #expect(left.consumer == .none && left.lanes[0].producer == .none)
    #expect(code { _ = try reader.ringStatus("nothing") } == .noSuchPart)
  }

  @Test func `a broadcast's status shows its writer, who holds it up, and what was dropped`() throws {
    let region = try SharedRegion(creating: RegionLayout(.broadcast("b", capacity: 128, followers: 3)))
    let reader = try SharedRegionReader(inheriting: region.descriptorForChild(as: .readOnly))
    let empty = try reader.broadcastStatus("b")
    #expect(empty.writer == .none && empty.followers == [] && empty.followerLimit == 3 && empty.sentBytes == 0)
    do {
      var writer = try region.broadcastWriter(of: "b")
      var first = try region.broadcastReader(of: "b", losing: .nothing)
      let second = try region.broadcastReader(of: "b", losing: .nothing)
      let one: [UInt8] = [9]
      for _ in 0..<4 { #expect(try writer.trySend(one.span.bytes)) }
      #expect(try first.tryReceive { _, _ in true } == true)
      for _ in 0..<3 { #expect(try !writer.sendOrDrop(one.span.bytes)) }
      let status = try reader.broadcastStatus("b")
      #expect(status.writer == region.token && !status.isWriterDead && status.capacity == 128)
      #expect(status.sentBytes == 128 && status.droppedMessages == 3)
      #expect(status.followers.map(\.waitingBytes) == [96, 128])
      #expect(status.followers.allSatisfy { $0.token == region.token && !$0.isDead })
      #expect(second.lostCount == 0)
    }
    #expect(try region.broadcastStatus("b").followers == [])
    #expect(code { _ = try reader.broadcastStatus("nothing") } == .noSuchPart)
  }

  @Test func `a producer that was killed is shown as dead`() throws {
    let scene = try RingKillTests.Scene()
    var child = try scene.peer("produce", ["1", "1000000"])
    let token = try #require(RegionScene.token(child.line("attached ")), "\(child.output)")
    #expect(RegionScene.eventually { (try? scene.region.ringStatus("ring"))?.lanes[0].waitingBytes ?? 0 > 0 })
    child.kill()
    #expect(RegionScene.eventually { (try? scene.region.ringStatus("ring"))?.lanes[0].isProducerDead == true })
    #expect(try scene.region.ringStatus("ring").lanes[0].producer == token)
  }
}

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

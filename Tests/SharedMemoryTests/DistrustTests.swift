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

/// A peer that writes anything anywhere in the region at any time: what comes out is a message or an error.
@Suite struct DistrustTests {
  static func layout() -> RegionLayout {
    var layout = RegionLayout(
      .ring("r", capacity: 512, producers: 2), .broadcast("b", capacity: 512, followers: 2),
      .cell("c", of: UInt64.self),
      .event("e"), .counters("n", count: 2), .bytes("x", count: 100), .mutex("m", protecting: 8))
    layout.peerCapacity = 4
    return layout
  }

  /// The region's bytes, as a hostile peer has them.
  final class Hostile: @unchecked Sendable {
    let bytes: UnsafeMutableRawBufferPointer

    init(_ region: borrowing SharedRegion) throws {
      let file = try region.descriptorForChild()
      defer { try? file.close() }
      let count = region.byteCount
      let map = mmap(nil, count, PROT_READ | PROT_WRITE, MAP_SHARED, file.rawValue, 0)
      try #require(map != MAP_FAILED)
      bytes = UnsafeMutableRawBufferPointer(start: map, count: count)
    }
    deinit { munmap(bytes.baseAddress!, bytes.count) }

    /// Where the text stands in the region.
    func offset(of text: String) -> Int? {
      let wanted = Array(text.utf8)
      return (0...bytes.count - wanted.count).first { bytes[$0..<$0 + wanted.count].elementsEqual(wanted) }
    }

    static let words: [UInt64] = [
      0, 1, 7, 8, 64, 0xFF, 0xFFFF_FFFF, 1 << 31, 1 << 32, 1 << 48, 1 << 62, 1 << 63, .max, .max - 7,
      0x0001_0000_0000_0008,
    ]

    /// One byte, or one word, mostly where the channels are.
    func mutate(_ random: inout Random) {
      // The header is not believed after it was read; what follows it is.
      let from = random.below(8) == 0 ? 0 : 65_536
      let at = from + random.below(bytes.count - from - 8)
      switch random.below(4) {
      case 0: bytes[at] = UInt8(random.below(256))
      case 1: bytes[at] ^= 1 << UInt8(random.below(8))
      case 2:
        let word = Self.words[random.below(Self.words.count)]
        bytes.storeBytes(of: word, toByteOffset: at & ~7, as: UInt64.self)
      default:
        // Near to what stood there.
        let word = bytes.load(fromByteOffset: at & ~7, as: UInt64.self)
        bytes.storeBytes(of: word &+ UInt64(random.below(64)) &- 32, toByteOffset: at & ~7, as: UInt64.self)
      }
    }
  }

  /// What a process does that distrusts its peers. Each step may fail with an error; nothing else may happen.
  final class Victim {
    let region: SharedRegion
    var producer: RingProducer? = nil
    var consumer: RingConsumer? = nil
    var writer: BroadcastWriter? = nil
    var reader: BroadcastReader? = nil
    var follower: BroadcastReader? = nil
    let look: SharedRegionReader
    var observer: RingObserver? = nil
    var errors: [SharedMemoryError.Code: Int] = [:]
    var messages = 0

    init() throws {
      region = try SharedRegion(creating: DistrustTests.layout()).distrustingPeers()
      look = try SharedRegionReader(inheriting: region.descriptorForChild(as: .readOnly))
    }

    func attempt(_ body: (Victim) throws -> Void) {
      do { try body(self) } catch let error as SharedMemoryError {
        #expect(!error.description.isEmpty)
        errors[error.code, default: 0] += 1
      } catch {
        Issue.record("another error: \(error)")
      }
    }

    func step(_ random: inout Random) {
      let bytes = [UInt8](repeating: 1, count: random.below(200))
      switch random.below(16) {
      case 14: attempt { $0.observer = try $0.look.observer(ofRing: "r") }
      case 15:
        attempt { victim in
          for _ in 0..<20 {
            if case .message(let bytes, _, _) = try victim.observer?.next() { #expect(bytes.count <= 248) }
          }
        }
      case 0: attempt { $0.producer = try $0.region.producer(of: "r") }
      case 1: attempt { $0.consumer = try $0.region.consumer(of: "r") }
      case 2: attempt { $0.writer = try $0.region.broadcastWriter(of: "b") }
      case 3: attempt { $0.reader = try $0.region.broadcastReader(of: "b", from: .oldest) }
      case 4: attempt { $0.follower = try $0.region.broadcastReader(of: "b", losing: .nothing) }
      case 5: attempt { _ = try $0.producer?.trySend(bytes.span.bytes) }
      case 6:
        attempt {
          try $0.producer?.send(upTo: 40, until: .now) { span in
            span.storeBytes(of: 1, as: UInt8.self)
            return span.byteCount
          }
        }
      case 7:
        attempt { victim in
          var count = 0
          _ = try victim.consumer?.tryReceive(upTo: 20) { bytes, _ in
            #expect(bytes.byteCount <= 248)
            count += 1
          }
          victim.messages += count
        }
      case 8: attempt { _ = try $0.writer?.trySend(bytes.span.bytes) }
      case 9, 10:
        attempt { victim in
          var count = 0
          _ = try victim.reader?.tryReceive(upTo: 20) { bytes, _ in
            #expect(bytes.byteCount <= 232)
            count += 1
          }
          victim.messages += count
        }
      case 11: attempt { _ = try $0.follower?.tryReceive(upTo: 20) { bytes, _ in #expect(bytes.byteCount <= 232) } }
      case 12:
        attempt {
          _ = try $0.region.cell("c", of: UInt64.self).load()
          try $0.region.event("e").signal()
          try $0.region.counters("n").add(1, at: 1)
          #expect(try $0.region.bytes("x", 0..<100).count == 100)
        }
      default:
        attempt {
          _ = $0.region.peers()
          _ = try $0.region.ringStatus("r")
          // Ends end as they began, whatever stands there.
          switch random.below(5) {
          case 0: $0.producer = nil
          case 1: $0.consumer = nil
          case 2: $0.writer = nil
          case 3: $0.reader = nil
          default: $0.follower = nil
          }
        }
      }
    }
  }

  @Test func `filling that no producer writes is damage and nothing to walk over`() throws {
    // Each kind as a mutation of what an honest producer has sent: from the start of the data, words up to the tail.
    let filling = RingLane.fillingMark
    let cases: [(String, [UInt64], tail: UInt64)] = [
      ("filling all over", [UInt64](repeating: filling, count: 512), 4096),
      ("filling in the middle", [filling | 24, 0, 0, 0, 0], 40),
      ("filling to the end, and nothing behind it", [filling | 4088], 4096),
    ]
    for (name, words, tail) in cases {
      for distrusts in [false, true] {
        var region = try SharedRegion(creating: RegionLayout(.ring("r", capacity: 4096)))
        if distrusts { region = try region.distrustingPeers() }
        let hostile = try Hostile(region)
        do {
          var producer = try region.producer(of: "r")
          var consumer = try region.consumer(of: "r")
          try producer.send([UInt8]("a mark to be found".utf8).span.bytes)
          let mark = try #require(hostile.offset(of: "a mark to be found"))
          let data = mark - 8
          for (index, word) in words.enumerated() {
            hostile.bytes.storeBytes(of: word, toByteOffset: data + index * 8, as: UInt64.self)
          }
          let lane = data - RingLane.data
          hostile.bytes.storeBytes(of: tail, toByteOffset: lane + RingLane.tail, as: UInt64.self)
          #expect(code { _ = try consumer.tryReceive { _, _ in } } == .peerMisbehaved, "\(name)")
          #expect(code { _ = try consumer.tryReceive { _, _ in } } == .peerMisbehaved, "\(name), again")
        }
        withExtendedLifetime(hostile) {}
      }
    }
  }

  @Test func `an honest writer that is too fast is no error for who waits`() throws {
    let region = try SharedRegion(creating: RegionLayout(.broadcast("b", capacity: 256)))
    let served = try region.descriptorForChild()
    let distrusting = try SharedRegion(inheriting: served).distrustingPeers()
    var reader = try distrusting.broadcastReader(of: "b")
    let isOver = Locked(false)
    var writer: BroadcastWriter? = try region.broadcastWriter(of: "b")
    let shared = WriterHolder(writer.take()!)
    let worker = HostileThread {
      let bytes = [UInt8](repeating: 7, count: 104)
      while !isOver.withLock({ $0 }) { for _ in 0..<1000 { _ = try? shared.writer.trySend(bytes.span.bytes) } }
    }
    withWatchdog("a fast writer") {
      for _ in 0..<2000 {
        do {
          try reader.receive { bytes, _ in check(bytes.byteCount == 104, "whole") }
        } catch {
          Issue.record("\(error)")
          break
        }
      }
    }
    isOver.withLock { $0 = true }
    worker.join()
  }

  @Test func `any byte changed between steps gives a message or an error`() throws {
    let mutations = RegionScene.isLong ? 1_000_000 : 40_000
    var random = Random(seed: 51)
    var done = 0
    var errors: [SharedMemoryError.Code: Int] = [:]
    var messages = 0
    try withWatchdog("hostile peer", seconds: RegionScene.isLong ? 3600 : 300) {
      while done < mutations {
        // Anew, so that channels work for a while before they are hurt.
        let victim = try Victim()
        let hostile = try Hostile(victim.region)
        for step in 0..<600 {
          victim.step(&random)
          if step > 60, random.below(3) == 0 {
            hostile.mutate(&random)
            done += 1
          }
        }
        errors.merge(victim.errors) { $0 + $1 }
        messages += victim.messages
      }
    }
    #expect(errors[.peerMisbehaved, default: 0] > 0 && messages > 0)
    print("hostile peer: \(done) mutations, \(messages) messages, errors \(errors)")
  }

  @Test func `any byte changed while steps run gives a message or an error`() throws {
    let done = Locked(0)
    let messages = Locked(0)
    withWatchdog("hostile peer beside", seconds: RegionScene.isLong ? 3600 : 300) {
      for round in 0..<(RegionScene.isLong ? 5000 : 150) {
        guard let victim = try? Victim(), let hostile = try? Hostile(victim.region) else {
          Issue.record("no region")
          return
        }
        // The victim on this thread, the hostile peer on another one, which begins when the channels are open.
        let isOver = Locked(false)
        let isOpen = Locked(false)
        let worker = HostileThread {
          var own = Random(seed: UInt64(round))
          var count = 0
          while !isOver.withLock({ $0 }) {
            if isOpen.withLock({ $0 }) {
              hostile.mutate(&own)
              count += 1
            }
            if own.below(4) == 0 { pgt_sleep_us(1) }
          }
          done.withLock { $0 += count }
        }
        var own = Random(seed: UInt64(round) + 900)
        for step in 0..<1200 {
          if step == 60 { isOpen.withLock { $0 = true } }
          victim.step(&own)
        }
        isOver.withLock { $0 = true }
        worker.join()
        messages.withLock { $0 += victim.messages }
      }
    }
    print("hostile peer beside: \(done.withLock { $0 }) mutations, \(messages.withLock { $0 }) messages")
    #expect(done.withLock { $0 } > 0)
  }

  @Test func `nothing of the region is lent, and an end that was lied to stays closed`() throws {
    let region = try SharedRegion(creating: Self.layout()).distrustingPeers()
    let hostile = try Hostile(region)
    let isDistrusting = region.distrustsPeers
    #expect(isDistrusting)
    #expect(code { try region.withBytes("x") { _ in } } == .distrusted)
    #expect(code { _ = try region.mutex("m") } == .distrusted)
    let three: [UInt8] = [1, 2, 3]
    try region.store(three.span.bytes, in: "x", at: 97)
    #expect(try region.bytes("x", 95..<100) == [0, 0, 1, 2, 3])
    #expect(code { try region.store(three.span.bytes, in: "x", at: 98) } == .invalidArgument)
    #expect(code { try region.store(three.span.bytes, in: "x", at: -1) } == .invalidArgument)
    var producer = try region.producer(of: "r")
    var consumer = try region.consumer(of: "r")
    #expect(code { _ = try producer.reserve(8) } == .distrusted)
    try producer.send(three.span.bytes)
    // While it is shown, the message is changed: what was shown stays as it is.
    let whole = hostile.bytes
    check(
      try consumer.tryReceive { bytes, _ in
        for at in 65_536..<whole.count where whole[at] == 2 { whole[at] = 77 }
        return bytes.unsafeLoad(fromByteOffset: 1, as: UInt8.self)
      } == UInt8(2), "a copy is shown")
    // The tail goes where no producer puts it.
    let tail = 65_536 + 4 * 128 + 256
    let before = whole.load(fromByteOffset: tail, as: UInt64.self)
    whole.storeBytes(of: before + 8192, toByteOffset: tail, as: UInt64.self)
    #expect(code { _ = try consumer.tryReceive { _, _ in } } == .peerMisbehaved)
    whole.storeBytes(of: before, toByteOffset: tail, as: UInt64.self)
    #expect(code { _ = try consumer.tryReceive { _, _ in } } == .peerMisbehaved, "also when it is right again")
  }

  @Test func `ends of a broadcast that were lied to stay closed, and a tail that goes back or is none is a lie`() throws
  {
    let tail = 65_536 + 64 * 128
    for lie in [-8, 4, 1 << 40] {
      let region = try SharedRegion(creating: RegionLayout(.broadcast("b", capacity: 256, followers: 1)))
        .distrustingPeers()
      let hostile = try Hostile(region)
      defer { withExtendedLifetime(hostile) {} }
      let bytes = hostile.bytes
      var writer = try region.broadcastWriter(of: "b")
      var reader = try region.broadcastReader(of: "b")
      var follower = try region.broadcastReader(of: "b", losing: .nothing)
      let one: [UInt8] = [1]
      try writer.send(one.span.bytes)
      #expect(try reader.tryReceive { _, _ in true } == true && follower.tryReceive { _, _ in true } == true)
      let before = bytes.load(fromByteOffset: tail, as: Int.self)
      bytes.storeBytes(of: before + lie, toByteOffset: tail, as: Int.self)
      if lie < 1 << 40 { #expect(code { _ = try reader.tryReceive { _, _ in } } == .peerMisbehaved, "\(lie)") }
      #expect(code { _ = try follower.tryReceive { _, _ in } } == .peerMisbehaved, "\(lie)")
      bytes.storeBytes(of: before, toByteOffset: tail, as: Int.self)
      if lie < 1 << 40 { #expect(code { _ = try reader.tryReceive { _, _ in } } == .peerMisbehaved, "\(lie)") }
      #expect(code { _ = try follower.tryReceive { _, _ in } } == .peerMisbehaved, "\(lie)")
      // The follower's head is none.
      let head = tail + 384 + 8
      bytes.storeBytes(of: 3, toByteOffset: head, as: UInt64.self)
      var last: SharedMemoryError.Code? = nil
      for _ in 0..<100 where last == nil { last = code { _ = try writer.trySend(one.span.bytes) } }
      #expect(last == .peerMisbehaved)
      bytes.storeBytes(of: UInt64(before), toByteOffset: head, as: UInt64.self)
      #expect(code { _ = try writer.trySend(one.span.bytes) } == .peerMisbehaved)
    }
  }

  @Test func `a region that can be cut is not taken`() throws {
    let folder = try NamedRegionTests.folder()
    let region = try SharedRegion(creating: Self.layout(), named: "r", in: RuntimeFolder(folder.path))
    func distrust(_ region: consuming SharedRegion) throws { _ = try region.distrustingPeers() }
    #expect(throws: SharedMemoryError.self) {
      try distrust(SharedRegion(named: "r", in: RuntimeFolder(folder.path)))
    }
    _ = region.token
  }
}

/// A thread beside the test's.
private final class WriterHolder: @unchecked Sendable {
  var writer: BroadcastWriter
  init(_ writer: consuming BroadcastWriter) { self.writer = writer }
}

private final class HostileThread: @unchecked Sendable {
  private let body: () -> Void
  private var thread = pthread_t()

  init(_ body: @escaping () -> Void) {
    self.body = body
    pthread_create(
      &thread, nil,
      { argument in
        Unmanaged<HostileThread>.fromOpaque(argument!).takeUnretainedValue().body()
        return nil
      }, Unmanaged.passUnretained(self).toOpaque())
  }

  func join() { pthread_join(thread, nil) }
}

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

/// Looking at the messages of a ring without receiving them.
@Suite struct RingObserverTests {
  /// A named region's file, so that a test can write what no peer writes.
  struct Scene: ~Copyable {
    let folder: TemporaryDirectory
    let region: SharedRegion
    let reader: SharedRegionReader

    init(capacity: Int = 1024, producers: Int = 1) throws {
      let folder = try NamedRegionTests.folder()
      let runtime = RuntimeFolder(folder.path)
      let region = try SharedRegion(
        creating: RegionLayout(.ring("r", capacity: capacity, producers: producers)), named: "r", in: runtime)
      let reader = try SharedRegionReader(named: "r", in: runtime)
      self.folder = folder
      self.region = region
      self.reader = reader
    }

    /// Where the first lane begins in the file.
    static let lane = Int64(65_536 + 64 * 128 + 256)

    func write(_ value: UInt64, at offset: Int64) throws {
      let file = try FileDescriptor.open(folder.appending("r.region"), .readWrite)
      defer { try? file.close() }
      try withUnsafeBytes(of: value) { _ = try file.writeAll(toAbsoluteOffset: Self.lane + offset, $0) }
    }
  }

  typealias Seen = RingObserver.Observation

  static func all(_ observer: inout RingObserver) throws -> [Seen] {
    var found: [Seen] = []
    while let seen = try observer.next() { found.append(seen) }
    return found
  }

  @Test func `messages that wait are seen as they were sent, and stay`() throws {
    let scene = try Scene()
    var producer = try scene.region.producer(of: "r")
    var consumer = try scene.region.consumer(of: "r")
    var observer = try scene.reader.observer(ofRing: "r")
    #expect(try observer.next() == nil)
    let messages = [0, 1, 7, 8, 9, 400].map { Array(PatternFile.bytes(0..<Int64($0))) }
    for (type, bytes) in messages.enumerated() { try producer.send(bytes.span.bytes, type: UInt16(type)) }
    let expected = messages.enumerated().map { Seen.message($1, type: UInt16($0), lane: 0) }
    #expect(try Self.all(&observer) == expected)
    #expect(try observer.next() == nil, "each is seen once")
    // Another one begins with what waits.
    var later = try scene.reader.observer(ofRing: "r")
    #expect(try Self.all(&later) == expected)
    for bytes in messages { #expect(try RingTests.receive(&consumer) == bytes) }
    let more: [UInt8] = [1, 2, 3]
    try producer.send(more.span.bytes)
    #expect(try observer.next() == .message(more, type: 0, lane: 0))
    #expect(try observer.positions == [scene.region.ringStatus("r").lanes[0].sentBytes])
    // Nobody was attached, and no byte changed.
    #expect(scene.region.peers().count == 1)
    #expect(try scene.region.ringStatus("r").lanes[0].waitingBytes == 16)
  }

  @Test func `every size is seen wherever the end of the ring is`() throws {
    let scene = try Scene(capacity: 64)
    var producer = try scene.region.producer(of: "r")
    var consumer = try scene.region.consumer(of: "r")
    var observer = try scene.reader.observer(ofRing: "r")
    for lead in 0...24 {
      for size in 0...24 {
        for count in [lead, size] {
          let bytes = (0..<count).map { UInt8($0 + size) }
          try producer.send(bytes.span.bytes)
          #expect(try observer.next() == .message(bytes, type: 0, lane: 0), "\(lead) \(size)")
          #expect(try RingTests.receive(&consumer) == bytes)
        }
      }
    }
    #expect(try observer.next() == nil)
  }

  @Test func `what the consumer took before it was seen is counted exactly, and the rest is seen`() throws {
    let scene = try Scene(capacity: 256, producers: 2)
    var producer = try scene.region.producer(of: "r")
    var other = try scene.region.producer(of: "r")
    var consumer = try scene.region.consumer(of: "r")
    var observer = try scene.reader.observer(ofRing: "r")
    // 16 bytes each; the first two are seen, then taken with two that are not.
    for value in 0..<2 as Range<UInt8> { #expect(try RingTests.send(&producer, [value])) }
    #expect(try Self.all(&observer) == [.message([0], type: 0, lane: 0), .message([1], type: 0, lane: 0)])
    for value in 2..<6 as Range<UInt8> { #expect(try RingTests.send(&producer, [value])) }
    for value in 0..<4 as Range<UInt8> { #expect(try RingTests.receive(&consumer) == [value]) }
    #expect(try RingTests.send(&other, [9]))
    let seen = try Self.all(&observer)
    #expect(seen.count == 4 && Set(seen).count == 4)
    #expect(seen.contains(.missed(byteCount: 32, lane: 0)) && seen.contains(.message([9], type: 0, lane: 1)))
    #expect(
      seen.filter { if case .message(_, _, 0) = $0 { true } else { false } }
        == [.message([4], type: 0, lane: 0), .message([5], type: 0, lane: 0)])
    // Also when nothing is left to be seen.
    for value in 6..<9 as Range<UInt8> { #expect(try RingTests.send(&producer, [value])) }
    while try RingTests.receive(&consumer) != nil {}
    #expect(try Self.all(&observer) == [.missed(byteCount: 48, lane: 0)])
    #expect(try observer.next() == nil)
  }

  @Test func `beside ends that run, every message seen is whole, in order, and all bytes are seen or missed`() throws {
    let scene = try Scene(capacity: 512)
    let count = RegionScene.isLong ? 3_000_000 : 200_000
    let failures = Locked<[String]>([])
    let result = Locked<(seen: Int, bytes: UInt64, missed: UInt64)>((0, 0, 0))
    // Of all messages, known before the last one is sent: there are more than `count` where the observer's thread got no processor until then.
    let total = Locked<UInt64?>(nil)
    withWatchdog("an observer beside ends that run", seconds: 240) {
      onThreads(3) { thread in
        do {
          if thread == 0 {
            var producer = try scene.region.producer(of: "r")
            // 64 bytes in the ring, which never need filling: 56 of payload, all words the sequence.
            var sequence: UInt64 = 0
            while total.withLock({ $0 }) == nil {
              sequence += 1
              let isSeen = result.withLock { $0.seen > 0 } || failures.withLock { !$0.isEmpty }
              let isLast = sequence >= count && isSeen
              if isLast { total.withLock { $0 = sequence * 64 } }
              try producer.send(upTo: 56, type: isLast ? 1 : 0) { span in
                for word in 0..<7 { span.storeBytes(of: sequence, toByteOffset: word * 8, as: UInt64.self) }
                return 56
              }
            }
          } else if thread == 1 {
            var consumer = try scene.region.consumer(of: "r")
            var isLast = false
            while !isLast { try consumer.receive(upTo: 4) { _, type in isLast = type == 1 } }
          } else {
            var observer = try scene.reader.observer(ofRing: "r")
            // What was taken before it began is not missed.
            let begin = observer.positions[0]
            result.withLock { $0.missed = begin }
            var last: UInt64 = 0
            while observer.positions[0] < total.withLock({ $0 }) ?? .max {
              switch try observer.next() {
              case .message(let bytes, _, _):
                let words = bytes.withUnsafeBytes { raw in
                  (0..<raw.count / 8).map { raw.loadUnaligned(fromByteOffset: $0 * 8, as: UInt64.self) }
                }
                if words.count != 7 || Set(words).count != 1 || words[0] <= last {
                  failures.withLock { $0.append("\(words) after \(last)") }
                }
                last = words.first ?? 0
                result.withLock { $0 = ($0.seen + 1, $0.bytes + 64, $0.missed) }
              case .missed(let bytes, _): result.withLock { $0.missed += bytes }
              case nil: break
              }
            }
          }
        } catch {
          failures.withLock { $0.append("\(error)") }
        }
      }
    }
    #expect(failures.withLock { $0.prefix(3) } == [])
    let found = result.withLock { $0 }
    #expect(found.bytes + found.missed == total.withLock { $0 } && found.seen > 0, "\(found)")
  }

  @Test func `numbers that no end writes are an error, each time, and no trap`() throws {
    let huge = UInt64(1) << 63
    // Of a lane with two messages of 16 bytes: the place of a word (384 is where data begins), and what is written there.
    let cases: [(String, Int64, UInt64)] = [
      ("tail not of words", 0, 33), ("tail far beyond", 0, 1 << 20), ("tail before the head", 0, huge),
      ("head not of words", 128, 4), ("head behind by more than the ring", 128, UInt64(bitPattern: -4096)),
      ("length beyond the tail", 384, 255), ("length of 4 GiB", 384, 0xFFFF_FFFF), ("unknown mark", 384, 2 << 48 | 1),
      ("filling that is not at the end", 384, 1 << 48 | 8), ("every bit", 384, .max),
    ]
    for (what, offset, value) in cases {
      let scene = try Scene(capacity: 256)
      var producer = try scene.region.producer(of: "r")
      #expect(try RingTests.send(&producer, [1]) && RingTests.send(&producer, [2]))
      var observer = try scene.reader.observer(ofRing: "r")
      try scene.write(value, at: offset)
      for _ in 0..<3 { #expect(code { _ = try observer.next() } == .peerMisbehaved, "\(what)") }
    }
    // A head that is ahead of the tail is taken for a consumer's at first.
    let scene = try Scene(capacity: 256)
    var observer = try scene.reader.observer(ofRing: "r")
    try scene.write(1 << 40, at: 128)
    #expect(try observer.next() == .missed(byteCount: 1 << 40, lane: 0))
    for _ in 0..<3 { #expect(code { _ = try observer.next() } == .peerMisbehaved) }
  }

  @Test func `rings of random bytes end in an error or in nothing, and never in a trap`() throws {
    let scene = try Scene(capacity: 256)
    var random = Random(seed: 11)
    let values: [() -> UInt64] = [
      { random.next() }, { UInt64(random.below(64)) * 8 }, { UInt64(random.below(300)) },
      { 1 << 48 | UInt64(random.below(32)) * 8 }, { .max &- UInt64(random.below(64)) },
    ]
    for _ in 0..<(RegionScene.isLong ? 20_000 : 1000) {
      for offset in [0, 128] + (0..<32).map({ 384 + $0 * 8 }) {
        if random.below(3) == 0 { try scene.write(values[random.below(values.count)](), at: Int64(offset)) }
      }
      var observer = try scene.reader.observer(ofRing: "r")
      // 32 words have no more than 32 messages.
      var rounds = 0
      while (try? observer.next()) != nil { rounds += 1 }
      #expect(rounds <= 34)
    }
  }

  @Test func `only a ring can be observed`() throws {
    let region = try SharedRegion(creating: RegionScene.layout())
    let reader = try SharedRegionReader(inheriting: region.descriptorForChild(as: .readOnly))
    #expect(code { _ = try reader.observer(ofRing: "nothing") } == .noSuchPart)
    #expect(code { _ = try reader.observer(ofRing: "ping") } == .layoutDiffers)
  }
}

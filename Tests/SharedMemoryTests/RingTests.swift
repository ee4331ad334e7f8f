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

/// Ring channels within one process.
@Suite struct RingTests {
  static func region(capacity: Int = 1024, producers: Int = 1) throws -> SharedRegion {
    try SharedRegion(creating: RegionLayout(.ring("r", capacity: capacity, producers: producers)))
  }

  static func send(_ producer: inout RingProducer, _ bytes: [UInt8], type: UInt16 = 0) throws -> Bool {
    try producer.trySend(bytes.span.bytes, type: type)
  }

  static func receive(_ consumer: inout RingConsumer) throws -> [UInt8]? {
    try consumer.tryReceive { bytes, _ in bytes.withUnsafeBytes { Array($0) } }
  }

  @Test func `who spins in vain four times nearly stops it, until it is of use again`() {
    var record = SpinRecord()
    var tries: [Int: Int] = [:]
    for wait in 0..<100 {
      if record.limit > 0 { tries[wait] = record.limit }
      record.count(slept: true)
    }
    let (most, few) = (SpinRecord.most, SpinRecord.few)
    #expect(
      tries == [
        0: most, 1: most, 2: most, 3: most, 8: few, 16: few, 24: few, 32: few, 40: few, 48: few, 56: few, 64: most,
        72: few, 80: few, 88: few, 96: few,
      ])
    record.count(slept: false)
    #expect(record.limit == most)
    for _ in 0..<4 { record.count(slept: true) }
    #expect(record.limit == 0)
  }

  @Test func `a lead is tried now and then, grows while it is of use, and is tried less where it never is`() {
    var record = LeadRecord()
    /// One wait, with a lead or without.
    func wait(_ messages: Int) {
      if record.isGiven { record.count(messages) } else { record.pass() }
    }
    var tries: [Int] = []
    for number in 0..<4000 {
      if record.isGiven { tries.append(number) }
      wait(record.moments / 3 - 1)
    }
    #expect(tries == [64, 129, 258, 515, 1028, 2053, 3078])
    while !record.isGiven { wait(0) }
    var leads: [Int] = []
    for _ in 0..<8 {
      #expect(record.isGiven)
      leads.append(record.moments)
      wait(record.moments / 3)
    }
    #expect(leads == [16, 32, 64, 128, 256, 256, 256, 256])
    wait(0)
    // It was of use: the next try is soon, and short.
    var waits = 0
    while !record.isGiven {
      wait(0)
      waits += 1
    }
    #expect(waits == 64 && record.moments == LeadRecord.shortest)
  }

  /// Words of one thread. With each moment that somebody spins, `whileSpinning` is called; it counts looks for messages.
  final class PassingWords: SharedWords {
    var values: [UInt64]
    var (looks, spins) = (0, 0)
    var whileSpinning = {}

    init(byteCount: Int) { values = [UInt64](repeating: 0, count: byteCount / 8) }

    func loadRelaxed(_ offset: Int, _ step: StaticString) -> UInt64 { values[offset / 8] }
    func loadAcquiring(_ offset: Int, _ step: StaticString) -> UInt64 {
      if step.description == "ring.next.tail" { looks += 1 }
      return values[offset / 8]
    }
    func storeRelaxed(_ value: UInt64, _ offset: Int, _ step: StaticString) { values[offset / 8] = value }
    func storeReleasing(_ value: UInt64, _ offset: Int, _ step: StaticString) { values[offset / 8] = value }
    func compareExchange(_ expected: UInt64, _ desired: UInt64, _ offset: Int, _ step: StaticString) -> Bool {
      guard values[offset / 8] == expected else { return false }
      values[offset / 8] = desired
      return true
    }
    // Nobody sleeps.
    func loadCount(_ offset: Int, _ step: StaticString) -> UInt32 { 0 }
    func addCount(_ offset: Int, _ step: StaticString) -> UInt32 { 0 }
    func storeHint(_ value: UInt32, _ offset: Int, _ step: StaticString) {}
    func loadHint(_ offset: Int, _ step: StaticString) -> UInt32 { 0 }
    func compareExchangeHint(_ expected: UInt32, _ desired: UInt32, _ offset: Int, _ step: StaticString) -> Bool {
      true
    }
    func sleep(_ offset: Int, while expected: UInt32, until deadline: Deadline, _ step: StaticString) {}
    func wake(_ offset: Int, _ step: StaticString) {}
    func fence(_ step: StaticString) {}
    func fenceAcquiring(_ step: StaticString) {}
    func fenceReleasing(_ step: StaticString) {}
    func spin(_ round: Int, of limit: Int) -> Bool {
      guard round < limit else { return false }
      spins += 1
      whileSpinning()
      return true
    }
    func spinBriefly(_ round: Int) -> Bool { false }
    func hasPassed(_ deadline: Deadline) -> Bool { false }
    func slice(_ deadline: Deadline) -> Deadline { deadline }
  }

  @Test(arguments: [true, false])
  func `a stream gets a lead, so that few looks find many messages; a dialogue hardly ever waits longer`(
    _ isStream: Bool
  ) throws {
    let shape = try #require(RingShape(laneCount: 1, capacity: 1 << 15))
    let words = PassingWords(byteCount: shape.byteCount)
    var outbox = try #require(RingOutbox(words: words, shape: shape, lane: 0))
    guard var inbox = RingInbox(words: words, shape: shape) else { throw Errno.badAddress }
    var (sent, received) = (0, 0)
    words.whileSpinning = {
      guard isStream || sent == received, case .place(let place) = outbox.reserve(64, until: .now) else { return }
      sent += 1
      outbox.commit(place, byteCount: 64, type: UInt16(truncatingIfNeeded: sent))
    }
    let count = 100_000
    while received < count {
      guard case .message(_, 64, let type, 0) = inbox.next(until: .never) else {
        Issue.record("nothing, and the deadline is never")
        return
      }
      received += 1
      try #require(type == UInt16(truncatingIfNeeded: received))
      inbox.consume()
    }
    if isStream {
      #expect(words.looks < count / 100, "a look for each message")
    } else {
      // Two looks each before the moment in which it came, one behind it.
      #expect(words.spins < count + count / 50 && words.looks < 3 * count + count / 50)
    }
  }

  @Test func `a message comes out as it went in, with its type`() throws {
    let region = try Self.region()
    var producer = try region.producer(of: "r")
    var consumer = try region.consumer(of: "r")
    #expect(try Self.receive(&consumer) == nil)
    for (count, type) in [(0, 0), (1, 1), (7, 65_535), (8, 2), (9, 3), (504, 4)] as [(Int, UInt16)] {
      let bytes = Array(PatternFile.bytes(0..<Int64(count)))
      #expect(try Self.send(&producer, bytes, type: type))
      let got = try consumer.tryReceive { (Array($0.withUnsafeBytes { Array($0) }), $1) }
      #expect(got?.0 == bytes && got?.1 == type)
    }
    #expect(producer.messageLimit == 504)
    #expect(code { _ = try Self.send(&producer, [UInt8](repeating: 0, count: 505)) } == .invalidArgument)
    #expect(try Self.receive(&consumer) == nil)
  }

  @Test func `every size fits an empty ring wherever its end is`() throws {
    let region = try Self.region(capacity: 64)
    var producer = try region.producer(of: "r")
    var consumer = try region.consumer(of: "r")
    #expect(producer.messageLimit == 24)
    withEvery("lead", in: 0...24) { lead in
      withEvery("size", in: 0...24) { size in
        for count in [lead, size] {
          let bytes = (0..<count).map { UInt8($0 + size) }
          check(try Self.send(&producer, bytes), "no room")
          check(try Self.receive(&consumer) == bytes, "other bytes")
        }
      }
    }
  }

  @Test func `a full ring says so in the way that was asked for`() throws {
    let region = try Self.region(capacity: 64)
    var producer = try region.producer(of: "r")
    var consumer = try region.consumer(of: "r")
    for value in 0..<4 as Range<UInt8> { #expect(try Self.send(&producer, [value])) }
    #expect(try !Self.send(&producer, [9]))
    let one: [UInt8] = [9]
    #expect(try !producer.sendOrDrop(one.span.bytes))
    #expect(code { try producer.send(one.span.bytes, until: .after(.milliseconds(10))) } == .timedOut)
    #expect(try Self.receive(&consumer) == [0])
    try producer.send(one.span.bytes)
    for value in [1, 2, 3, 9] as [UInt8] { #expect(try Self.receive(&consumer) == [value]) }
    #expect(try Self.receive(&consumer) == nil)
    #expect(code { try consumer.receive(until: .after(.milliseconds(10))) { _, _ in } } == .timedOut)
    #expect(code { try consumer.receive(upTo: 3, until: .now) { _, _ in } } == .timedOut)
  }

  @Test func `what is written in place is sent, shorter than asked for, or not at all`() throws {
    struct Stop: Error {}
    let region = try Self.region()
    var producer = try region.producer(of: "r")
    var consumer = try region.consumer(of: "r")
    try producer.send(upTo: 100, type: 7) { span in
      for offset in 0..<10 { span.storeBytes(of: UInt8(offset), toByteOffset: offset, as: UInt8.self) }
      return 10
    }
    #expect(throws: Stop.self) { try producer.send(upTo: 100) { _ in throw Stop() } }
    try producer.send(upTo: 0) { _ in 0 }
    #expect(try Self.receive(&consumer) == Array(0..<10))
    #expect(try Self.receive(&consumer) == [])
    #expect(try Self.receive(&consumer) == nil)
  }

  @Test func `a batch is received as a whole, and again when its reader throws`() throws {
    struct Stop: Error {}
    let region = try Self.region()
    var producer = try region.producer(of: "r")
    var consumer = try region.consumer(of: "r")
    for value in 0..<5 as Range<UInt8> { #expect(try Self.send(&producer, [value])) }
    var seen: [UInt8] = []
    #expect(throws: Stop.self) {
      try consumer.tryReceive(upTo: 10) { bytes, _ in
        seen.append(bytes.unsafeLoad(fromByteOffset: 0, as: UInt8.self))
        if seen.count == 3 { throw Stop() }
      }
    }
    #expect(throws: Stop.self) { try consumer.tryReceive { _, _ in throw Stop() } }
    #expect(
      try consumer.receive(upTo: 2) { bytes, _ in seen.append(bytes.unsafeLoad(fromByteOffset: 0, as: UInt8.self)) }
        == 2)
    #expect(
      try consumer.tryReceive(upTo: 9) { bytes, _ in seen.append(bytes.unsafeLoad(fromByteOffset: 0, as: UInt8.self)) }
        == 3)
    #expect(seen == [0, 1, 2, 0, 1, 2, 3, 4])
    #expect(try consumer.tryReceive(upTo: 9) { _, _ in } == 0)
  }

  @Test func `a batch is given back once it is settled, and comes again when that throws`() throws {
    struct Stop: Error {}
    let region = try Self.region()
    var producer = try region.producer(of: "r")
    var consumer = try region.consumer(of: "r")
    var seen: [UInt8] = []
    var settled: [Int] = []
    var isFailing = true
    func receive(_ limit: Int) throws -> Int {
      try consumer.receive(
        upTo: limit, until: .now,
        { bytes, _ in seen.append(bytes.unsafeLoad(fromByteOffset: 0, as: UInt8.self)) },
        settle: {
          #expect(try region.ringStatus("r").lanes[0].receivedBytes == UInt64(16 * settled.reduce(0, +)))
          if isFailing { throw Stop() }
          settled.append(seen.count)
          seen = []
        })
    }
    #expect(code { _ = try receive(9) } == .timedOut, "nothing is not settled")
    for value in 0..<5 as Range<UInt8> { #expect(try Self.send(&producer, [value])) }
    for limit in [1, 5, 9] { #expect(throws: Stop.self) { _ = try receive(limit) } }
    #expect(seen == [0, 0, 1, 2, 3, 4, 0, 1, 2, 3, 4])
    seen = []
    isFailing = false
    #expect(try receive(2) == 2 && receive(9) == 3)
    #expect(settled == [2, 3])
    #expect(try region.ringStatus("r").lanes[0].waitingBytes == 0)
  }

  @Test func `ends belong to one at a time, and a ring goes on where it was`() throws {
    let region = try Self.region(producers: 2)
    do {
      var producer = try region.producer(of: "r")
      let other = try region.producer(of: "r")
      #expect(producer.laneIndex == 0 && other.laneIndex == 1)
      #expect(code { _ = try region.producer(of: "r") } == .taken)
      let consumer = try region.consumer(of: "r")
      #expect(code { _ = try region.consumer(of: "r") } == .taken)
      #expect(try Self.send(&producer, [1]) && Self.send(&producer, [2]))
      #expect(consumer.producerLimit == 2)
      _ = other.laneIndex
    }
    var producer = try region.producer(of: "r")
    var consumer = try region.consumer(of: "r")
    #expect(try Self.send(&producer, [3]))
    #expect(try Self.receive(&consumer) == [1])
    #expect(try Self.receive(&consumer) == [2])
    #expect(try Self.receive(&consumer) == [3])
  }

  @Test func `no size is taken for a ring's that is none`() throws {
    for (capacity, producers) in [(1 << 37, 1), (1024, 0), (1024, 65), (1024, -1)] {
      #expect(code { _ = try Self.region(capacity: capacity, producers: producers) } == .invalidArgument)
    }
    let region = try Self.region(capacity: 1000)
    var producer = try region.producer(of: "r")
    #expect(producer.messageLimit == 504, "rounded up to 1024")
    #expect(try Self.send(&producer, []))
    var layout = RegionLayout()
    layout.add(RegionLayout.Part("r", kind: .ring, byteCount: 1000, elementSize: 512))
    let forged = try SharedRegion(creating: layout)
    #expect(code { _ = try forged.producer(of: "r") } == .damaged)
    #expect(code { _ = try forged.consumer(of: "r") } == .damaged)
  }

  @Test func `any sequence of calls does what a queue does`() throws {
    for capacity in [64, 256, 4096] {
      let region = try Self.region(capacity: capacity)
      var producer = try region.producer(of: "r")
      var consumer = try region.consumer(of: "r")
      var random = Random(seed: UInt64(capacity))
      var queue: [[UInt8]] = []
      var sent = 0
      for round in 0..<(RegionScene.isLong ? 1_000_000 : 20_000) {
        if random.below(2) == 0 {
          let bytes = [UInt8](
            repeating: UInt8(truncatingIfNeeded: round), count: random.below(producer.messageLimit + 1))
          if try Self.send(&producer, bytes) {
            queue.append(bytes)
            sent += 1
          } else {
            #expect(!queue.isEmpty, "an empty ring has room for every size")
          }
        } else if random.below(2) == 0 {
          #expect(try Self.receive(&consumer) == queue.first)
          if !queue.isEmpty { queue.removeFirst() }
        } else {
          let limit = 1 + random.below(5)
          var batch: [[UInt8]] = []
          #expect(
            try consumer.tryReceive(upTo: limit) { bytes, _ in batch.append(bytes.withUnsafeBytes { Array($0) }) }
              == min(limit, queue.count))
          #expect(batch == Array(queue.prefix(limit)))
          queue.removeFirst(min(limit, queue.count))
        }
      }
      #expect(sent > 1000)
    }
  }

  @Test func `threads at both ends and several producers lose nothing`() throws {
    let region = try Self.region(capacity: 512, producers: 3)
    let count = RegionScene.isLong ? 1_000_000 : 30_000
    let failures = Locked<[String]>([])
    withWatchdog("threads at both ends", seconds: 240) {
      onThreads(4) { thread in
        do {
          if thread < 3 {
            var producer = try region.producer(of: "r")
            var random = Random(seed: UInt64(thread))
            for sequence in 0..<UInt64(count) {
              // The sequence, then so many bytes that follow from it.
              let length = random.below(60)
              try producer.send(upTo: 8 + length, type: UInt16(thread)) { span in
                span.storeBytes(of: sequence, as: UInt64.self)
                for offset in 0..<length {
                  span.storeBytes(
                    of: UInt8(truncatingIfNeeded: Int(sequence) + offset), toByteOffset: 8 + offset, as: UInt8.self)
                }
                return 8 + length
              }
            }
          } else {
            var consumer = try region.consumer(of: "r")
            var next = [UInt64](repeating: 0, count: 3)
            while next.contains(where: { $0 < UInt64(count) }) {
              try consumer.receive(upTo: 32) { bytes, type in
                let sequence = bytes.unsafeLoadUnaligned(as: UInt64.self)
                let isWhole = (8..<bytes.byteCount).allSatisfy {
                  bytes.unsafeLoad(fromByteOffset: $0, as: UInt8.self)
                    == UInt8(truncatingIfNeeded: Int(sequence) + $0 - 8)
                }
                if sequence != next[Int(type)] || !isWhole { failures.withLock { $0.append("\(type): \(sequence)") } }
                next[Int(type)] = sequence + 1
              }
            }
          }
        } catch {
          failures.withLock { $0.append("\(error)") }
        }
      }
    }
    #expect(failures.withLock { $0.prefix(3) } == [])
  }

  @Test func `bytes that no producer writes are an error, again and again`() throws {
    let folder = try NamedRegionTests.folder()
    let runtime = RuntimeFolder(folder.path)
    let region = try SharedRegion(creating: RegionLayout(.ring("r", capacity: 256)), named: "r", in: runtime)
    var producer = try region.producer(of: "r")
    var consumer = try region.consumer(of: "r")
    #expect(try Self.send(&producer, [1]) && Self.send(&producer, [2]))
    let file = try FileDescriptor.open(folder.appending("r.region"), .readWrite)
    defer { try? file.close() }
    let start = Int64(65_536 + 64 * 128)
    let lane = start + 256
    // The second message says that it is longer than what was committed.
    _ = try file.writeAll(toAbsoluteOffset: lane + 384 + 16, [255, 0, 0, 0])
    #expect(try Self.receive(&consumer) == [1])
    #expect(code { _ = try Self.receive(&consumer) } == .peerMisbehaved)
    #expect(code { _ = try Self.receive(&consumer) } == .peerMisbehaved)
    // The head goes where no consumer puts it: the producer notices when it looks for room.
    _ = try file.writeAll(toAbsoluteOffset: lane + 128, [UInt8](repeating: 0xFF, count: 8))
    var last: SharedMemoryError.Code? = nil
    for _ in 0..<100 where last == nil { last = code { _ = try Self.send(&producer, [3]) } }
    #expect(last == .peerMisbehaved)
  }

  @Test func `a message beyond what was committed, or over the end of the ring, is an error`() throws {
    let folder = try NamedRegionTests.folder()
    let runtime = RuntimeFolder(folder.path)
    // After the ring lies what is nobody's message.
    let layout = RegionLayout(.ring("r", capacity: 256), .bytes("next", count: 4096))
    let region = try SharedRegion(creating: layout, named: "r", in: runtime)
    let file = try FileDescriptor.open(folder.appending("r.region"), .readWrite)
    defer { try? file.close() }
    let data = Int64(65_536 + 64 * 128) + 256 + 384
    // Each length that a message of this ring can have.
    for claimed in UInt8(9)...120 {
      var producer = try region.producer(of: "r")
      var consumer = try region.consumer(of: "r")
      let position = try region.ringStatus("r").lanes[0].receivedBytes
      #expect(try Self.send(&producer, [UInt8](repeating: 1, count: 8)))
      _ = try file.writeAll(toAbsoluteOffset: data + Int64(position % 256), [claimed])
      #expect(code { _ = try Self.receive(&consumer) } == .peerMisbehaved, "\(claimed)")
      _ = try file.writeAll(toAbsoluteOffset: data + Int64(position % 256), [8])
      #expect(try Self.receive(&consumer)?.count == 8)
      // Now one at the very end, which what was committed would cover.
      while try region.ringStatus("r").lanes[0].receivedBytes % 256 != 240 {
        #expect(try Self.send(&producer, [UInt8](repeating: 1, count: 8)))
        #expect(try Self.receive(&consumer)?.count == 8)
      }
      for _ in 0..<8 { #expect(try Self.send(&producer, [UInt8](repeating: 1, count: 8))) }
      _ = try file.writeAll(toAbsoluteOffset: data + 240, [claimed])
      #expect(code { _ = try Self.receive(&consumer) } == .peerMisbehaved, "\(claimed)")
      _ = try file.writeAll(toAbsoluteOffset: data + 240, [8])
      for _ in 0..<8 { #expect(try Self.receive(&consumer)?.count == 8) }
    }
  }

  @Test func `a damaged message in a batch ends it, and is met again and never passed over`() throws {
    // Each mark that is none of a message, in the header of the third of five.
    for mark in [1, 2, 3, 15] {
      for distrusts in [false, true] {
        let region =
          distrusts
          ? try SharedRegion(creating: RegionLayout(.ring("r", capacity: 1024))).distrustingPeers()
          : try SharedRegion(creating: RegionLayout(.ring("r", capacity: 1024)))
        let hostile = try DistrustTests.Hostile(region)
        defer { withExtendedLifetime(hostile) {} }
        var producer = try region.producer(of: "r")
        var consumer = try region.consumer(of: "r")
        for value in 1...5 as ClosedRange<UInt8> { #expect(try Self.send(&producer, [value])) }
        let header = 65_536 + 64 * 128 + 256 + 384 + 32
        hostile.bytes[header + 6] |= UInt8(mark) << 1
        var seen: [UInt8] = []
        let count = try consumer.tryReceive(upTo: 10) { bytes, _ in seen.append(bytes.unsafeLoad(as: UInt8.self)) }
        #expect(count == 2 && seen == [1, 2])
        for _ in 0..<3 {
          #expect(code { _ = try consumer.tryReceive(upTo: 10) { _, _ in } } == .peerMisbehaved)
          #expect(code { _ = try Self.receive(&consumer) } == .peerMisbehaved)
        }
        hostile.bytes[header + 6] &= 1
        // Right again: nothing was lost. Who distrusts has closed the channel.
        if distrusts {
          #expect(code { _ = try Self.receive(&consumer) } == .peerMisbehaved)
        } else {
          for value in 3...5 as ClosedRange<UInt8> { #expect(try Self.receive(&consumer) == [value]) }
        }
      }
    }
  }

  @Test func `no message is longer than a length can say`() throws {
    for power in 6...36 {
      let ring = try #require(RingShape(laneCount: 1, capacity: 1 << power))
      let broadcast = try #require(BroadcastShape(capacity: 1 << power, followerLimit: 0))
      // Also what is left before the end of the ring, which is less than the message and its word.
      #expect(RingLane.footprint(ring.payloadLimit) - 8 <= UInt32.max && ring.payloadLimit <= 1 << power)
      #expect(broadcast.payloadLimit <= UInt32.max)
    }
  }
}

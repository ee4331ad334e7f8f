// SPDX-License-Identifier: Apache-2.0

import MemoryMapping
import SharedMemory
import Testing
import _TestSupport

/// Ring channels whose messages have a type, and claims.
@Suite struct TypedTests {
  /// A line of text, as a format of the caller's own.
  enum Line: MessageCoding {
    struct NoText: Error {}
    static func byteLimit(of line: String) -> Int { line.utf8.count }
    static func encode(_ line: String, into bytes: inout MutableRawSpan) -> Int {
      for (offset, byte) in line.utf8.enumerated() { bytes.storeBytes(of: byte, toByteOffset: offset, as: UInt8.self) }
      return line.utf8.count
    }
    static func decode(_ bytes: RawSpan) throws -> String {
      guard let line = String(validating: bytes.withUnsafeBytes { Array($0) }, as: UTF8.self) else { throw NoText() }
      return line
    }
  }

  @Test func `messages of a fixed layout come out as they went in`() throws {
    let region = try SharedRegion(creating: RegionLayout(.ring("n", of: UInt32.self, capacity: 256)))
    var producer = try region.producer(of: "n", sending: UInt32.self)
    var consumer = try region.consumer(of: "n", receiving: UInt32.self)
    for value in 0..<1000 as Range<UInt32> {
      try producer.send(value &* 77)
      check(try consumer.receive() == value &* 77, "\(value)")
    }
    check(try consumer.tryReceive() == nil, "empty")
    while try producer.trySend(1) {}
    #expect(code { try producer.send(1, until: .after(.milliseconds(2))) } == .timedOut)
  }

  @Test func `an end for another type is refused`() throws {
    let region = try SharedRegion(
      creating: RegionLayout(.ring("n", of: UInt32.self, capacity: 256), .ring("raw", capacity: 256)))
    #expect(code { _ = try region.producer(of: "n", sending: UInt64.self) } == .layoutDiffers)
    #expect(code { _ = try region.consumer(of: "n", receiving: Float.self) } == .layoutDiffers)
    #expect(code { _ = try region.consumer(of: "n", coding: Line.self) } == .layoutDiffers)
    #expect(code { _ = try region.consumer(of: "raw", receiving: UInt32.self) } == .layoutDiffers)
  }

  @Test func `a coding of the caller's own carries any message, and bytes that are none are an error`() throws {
    let region = try SharedRegion(creating: RegionLayout(.ring("lines", coding: Line.self, capacity: 1024)))
    var consumer = try region.consumer(of: "lines", coding: Line.self)
    do {
      var producer = try region.producer(of: "lines", coding: Line.self)
      for line in ["", "a", "größer", String(repeating: "x", count: 400)] {
        try producer.send(line)
        check(try consumer.receive() == line, line)
      }
      #expect(code { try producer.send(String(repeating: "x", count: 505)) } == .invalidArgument)
    }
    var raw = try region.producer(of: "lines")
    let bad: [UInt8] = [0xFF, 0xFE]
    let good = Array("good".utf8)
    try raw.send(bad.span.bytes)
    try raw.send(good.span.bytes)
    #expect(throws: Line.NoText.self) { try consumer.receive() }
    #expect(throws: Line.NoText.self) { try consumer.tryReceive() }
    check(try consumer.skip(), "passed over")
    check(try consumer.receive() == "good", "the next one")
    check(try !consumer.skip(), "nothing is left")
  }

  @Test func `a message of another size is an error`() throws {
    let region = try SharedRegion(creating: RegionLayout(.ring("n", of: UInt32.self, capacity: 256)))
    var consumer = try region.consumer(of: "n", receiving: UInt32.self)
    var raw = try region.producer(of: "n")
    let bytes = [UInt8](repeating: 1, count: 5)
    try raw.send(bytes.span.bytes)
    #expect(code { _ = try consumer.receive() } == .peerMisbehaved)
  }

  @Test(.timeLimit(.minutes(10))) func `tasks exchange typed messages`() async throws {
    let shared = RegionHolder(
      try SharedRegion(creating: RegionLayout(.ring("lines", coding: Line.self, capacity: 128))))
    async let last: String = {
      var consumer = try shared.region.consumer(of: "lines", coding: Line.self)
      var line = ""
      for number in 0..<2000 {
        line = try await consumer.receive()
        #expect(line == "line \(number)")
      }
      return line
    }()
    var producer = try shared.region.producer(of: "lines", coding: Line.self)
    for number in 0..<2000 { try await producer.send("line \(number)") }
    #expect(try await last == "line 1999")
  }

  @Test(.timeLimit(.minutes(10))) func `batches of typed messages end with one that is none, after all before it`()
    async throws
  {
    let region = try SharedRegion(
      creating: RegionLayout(.ring("lines", coding: Line.self, capacity: 1024, producers: 2)))
    let bad: [UInt8] = [0xFF, 0xFE]
    do {
      var one = try region.producer(of: "lines", coding: Line.self)
      var two = try region.producer(of: "lines", coding: Line.self)
      for number in 0..<5 {
        check(try one.trySend("one \(number)") && two.trySend("two \(number)"), "room")
      }
      check(try one.ring.trySend(bad.span.bytes), "room")
      check(try one.trySend("after") && two.trySend("two 5"), "room")
    }
    var lines: [String] = []
    let batches = try region.consumer(of: "lines", coding: Line.self).batches(upTo: 4)
    do {
      for try await batch in batches {
        #expect(!batch.isEmpty && batch.count <= 4)
        lines += batch
      }
      Issue.record("it ended without an error")
    } catch is Line.NoText {}
    #expect(lines.filter { $0.hasPrefix("one") } == (0..<5).map { "one \($0)" })
    let others = lines.filter { $0.hasPrefix("two") }
    #expect(others == (0..<others.count).map { "two \($0)" } && lines.count == 5 + others.count)
    var again = batches.makeAsyncIterator()
    await #expect(throws: Line.NoText.self) { try await again.next() }
  }

  @Test(.timeLimit(.minutes(10))) func `what is good in one lane comes before what is bad in another`() async throws {
    let region = try SharedRegion(
      creating: RegionLayout(.ring("lines", coding: Line.self, capacity: 1024, producers: 2)))
    let bad: [UInt8] = [0xFF, 0xFE]
    var one = try region.producer(of: "lines", coding: Line.self)
    var two = try region.producer(of: "lines", coding: Line.self)
    for line in ["a", "b", "c"] { check(try one.trySend(line), "room") }
    check(try two.ring.trySend(bad.span.bytes), "room")
    var lines: [String] = []
    do {
      for try await batch in try region.consumer(of: "lines", coding: Line.self).batches() { lines += batch }
    } catch is Line.NoText {}
    #expect(lines == ["a", "b", "c"])
  }

  @Test(.timeLimit(.minutes(10))) func `what the sequence did not hand on stays for the next consumer`() async throws {
    let region = try SharedRegion(creating: RegionLayout(.ring("lines", coding: Line.self, capacity: 1024)))
    var producer = try region.producer(of: "lines", coding: Line.self)
    let bad: [UInt8] = [0xFF, 0xFE]
    check(try producer.trySend("good") && producer.ring.trySend(bad.span.bytes) && producer.trySend("last"), "room")
    do {
      for try await batch in try region.consumer(of: "lines", coding: Line.self).batches() {
        #expect(batch == ["good"])
      }
    } catch is Line.NoText {}
    var consumer = try region.consumer(of: "lines", coding: Line.self)
    #expect(throws: Line.NoText.self) { try consumer.tryReceive() }
    check(try consumer.skip() && consumer.tryReceive() == "last", "passed over")
  }

  // MARK: Broadcasts

  @Test func `broadcasts of a fixed layout come out as they went in, and ends for another type are refused`() throws {
    let region = try SharedRegion(
      creating: RegionLayout(
        .broadcast("n", of: UInt32.self, capacity: 256, followers: 1), .broadcast("raw", capacity: 256),
        .ring("r", of: UInt32.self, capacity: 256)))
    var writer = try region.broadcastWriter(of: "n", sending: UInt32.self)
    var reader = try region.broadcastReader(of: "n", receiving: UInt32.self, losing: .nothing)
    var slow = try region.broadcastReader(of: "n", receiving: UInt32.self)
    for value in 1...1000 as ClosedRange<UInt32> {
      try writer.send(value &* 77)
      let received = try reader.receive()
      check(received.message == value &* 77 && received.header.number == UInt64(value), "\(received)")
    }
    check(try reader.tryReceive() == nil, "empty")
    let found = try #require(try slow.tryReceive())
    #expect(found.message == UInt32(found.header.number) &* 77 && found.header.lostBefore == found.header.number - 1)
    while try writer.trySend(1) {}
    #expect(code { try writer.send(1, until: .after(.milliseconds(2))) } == .timedOut)
    #expect(code { _ = try region.broadcastWriter(of: "n", sending: UInt64.self) } == .layoutDiffers)
    #expect(code { _ = try region.broadcastReader(of: "n", receiving: Float.self) } == .layoutDiffers)
    #expect(code { _ = try region.broadcastReader(of: "raw", receiving: UInt32.self) } == .layoutDiffers)
    #expect(code { _ = try region.broadcastReader(of: "r", receiving: UInt32.self) } == .layoutDiffers)
    let looker = try SharedRegionReader(inheriting: region.descriptorForChild(as: .readOnly))
    #expect(code { _ = try looker.broadcastReader(of: "n", receiving: Float.self) } == .layoutDiffers)
    var looks = try looker.broadcastReader(of: "n", receiving: UInt32.self, from: .latest(1))
    check(try looks.tryReceive()?.message == 1, "the last one")
  }

  @Test(.timeLimit(.minutes(10)))
  func `broadcasts with a coding carry any message, and bytes that are none are an error`() async throws {
    let region = try SharedRegion(
      creating: RegionLayout(.broadcast("lines", coding: Line.self, capacity: 1024, followers: 1)))
    let bad: [UInt8] = [0xFF, 0xFE]
    do {
      var writer = try region.broadcastWriter(of: "lines", coding: Line.self)
      var reader = try region.broadcastReader(of: "lines", coding: Line.self, losing: .nothing)
      for line in ["", "a", "größer", String(repeating: "x", count: 400)] {
        check(try writer.trySend(line), line)
        check(try reader.tryReceive()?.message == line, line)
      }
      #expect(code { _ = try writer.trySend(String(repeating: "x", count: 489)) } == .invalidArgument)
      check(try writer.trySend("one") && writer.channel.trySend(bad.span.bytes) && writer.trySend("two"), "room")
      check(try reader.tryReceive()?.message == "one", "the first")
      #expect(throws: Line.NoText.self) { try reader.tryReceive() }
      #expect(throws: Line.NoText.self) { try reader.tryReceive() }
      check(try reader.skip() && reader.tryReceive()?.message == "two" && !reader.skip(), "passed over")
    }
    // As batches: what is before it, and then the error.
    var lines: [String] = []
    do {
      let reader = try region.broadcastReader(of: "lines", coding: Line.self, from: .latest(3), losing: .nothing)
      for try await batch in reader.batches() { lines += batch.map(\.message) }
    } catch is Line.NoText {}
    #expect(lines == ["one"])
    // By one who may only look.
    let looker = try SharedRegionReader(inheriting: region.descriptorForChild(as: .readOnly))
    var looks = try looker.broadcastReader(of: "lines", coding: Line.self, from: .latest(1))
    check(try looks.tryReceive()?.message == "two", "the last one")
  }

  // MARK: Claims

  @Test func `a claim is sent by its commit alone`() throws {
    struct Stop: Error {}
    let region = try SharedRegion(creating: RegionLayout(.ring("r", capacity: 256)))
    var producer = try region.producer(of: "r")
    var consumer = try region.consumer(of: "r")
    do {
      var claim = try producer.reserve(24)
      #expect(claim.byteCount == 24)
      var bytes = claim.mutableBytes
      for offset in 0..<10 { bytes.storeBytes(of: UInt8(offset), toByteOffset: offset, as: UInt8.self) }
      check(try consumer.tryReceive { _, _ in true } == nil, "nothing was sent")
      claim.commit(byteCount: 10, type: 5)
    }
    check(try consumer.tryReceive { bytes, type in bytes.byteCount == 10 && type == 5 } == true, "it was sent")
    do {
      let claim = try producer.reserve(24)
      claim.abort()
    }
    func leave() throws {
      var claim = try producer.reserve(24)
      var bytes = claim.mutableBytes
      bytes.storeBytes(of: 9, toByteOffset: 0, as: UInt8.self)
      throw Stop()
    }
    #expect(throws: Stop.self) { try leave() }
    check(try consumer.tryReceive { _, _ in true } == nil, "nothing was sent")
    producer.sendAll(3)
    #expect(code { _ = try producer.reserve(1000) } == .invalidArgument)
    check(try consumer.tryReceive { bytes, _ in bytes.byteCount } == 3, "the ring goes on")
  }
}

extension RingProducer {
  fileprivate mutating func sendAll(_ count: Int) {
    if let claim = try? reserve(count) { claim.commit() }
  }
}

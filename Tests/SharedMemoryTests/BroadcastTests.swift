// SPDX-License-Identifier: Apache-2.0

import SharedMemory
import SystemPackage
import Testing
import _CTestSupport
import _TestSupport

/// Broadcast channels within one process.
@Suite struct BroadcastTests {
  static func region(capacity: Int = 1024, followers: Int = 0) throws -> SharedRegion {
    try SharedRegion(creating: RegionLayout(.broadcast("b", capacity: capacity, followers: followers)))
  }

  static func send(_ writer: inout BroadcastWriter, _ bytes: [UInt8], type: UInt16 = 0) throws -> Bool {
    try writer.trySend(bytes.span.bytes, type: type)
  }

  static func receive(_ reader: inout BroadcastReader) throws -> (bytes: [UInt8], message: BroadcastReader.Message)? {
    try reader.tryReceive { bytes, message in (bytes.withUnsafeBytes { Array($0) }, message) }
  }

  @Test func `a message of every size comes out at every reader as it went in`() throws {
    let region = try Self.region()
    var writer = try region.broadcastWriter(of: "b")
    var first = try region.broadcastReader(of: "b")
    var second = try region.broadcastReader(of: "b")
    #expect(writer.messageLimit == 1024 / 2 - 24)
    withEvery("bytes", in: 0...writer.messageLimit) { count in
      let bytes = (0..<count).map { UInt8(truncatingIfNeeded: $0 &* 7 &+ count) }
      check(try Self.send(&writer, bytes, type: UInt16(count)), "not sent")
      for reader in 0..<2 {
        let got = try? reader == 0 ? Self.receive(&first) : Self.receive(&second)
        check(got?.bytes == bytes && got?.message.type == UInt16(count), "other bytes")
        check(got?.message.number == UInt64(count) + 1 && got?.message.lostBefore == 0, "another number")
      }
    }
    #expect(try Self.receive(&first) == nil)
    let long = [UInt8](repeating: 0, count: writer.messageLimit + 1)
    #expect(code { _ = try Self.send(&writer, long) } == .invalidArgument)
  }

  @Test func `a reader that is too slow learns exactly how many messages it has lost`() throws {
    for capacity in [64, 128, 1024] {
      let region = try Self.region(capacity: capacity)
      var writer = try region.broadcastWriter(of: "b")
      var reader = try region.broadcastReader(of: "b")
      var random = Random(seed: UInt64(capacity))
      var sent: [[UInt8]] = []
      var received: [Int: [UInt8]] = [:]
      var lost: UInt64 = 0
      var last: UInt64 = 0
      for _ in 0..<(RegionScene.isLong ? 100_000 : 5_000) {
        for _ in 0..<random.below(random.below(10) == 0 ? 40 : 3) {
          let bytes = (0..<random.below(writer.messageLimit + 1)).map { _ in UInt8(random.below(256)) }
          #expect(try Self.send(&writer, bytes))
          sent.append(bytes)
        }
        if random.below(2) == 0, let (bytes, message) = try Self.receive(&reader) {
          received[Int(message.number)] = bytes
          #expect(message.number == last + message.lostBefore + 1)
          lost += message.lostBefore
          last = message.number
        }
      }
      while let (bytes, message) = try Self.receive(&reader) {
        received[Int(message.number)] = bytes
        lost += message.lostBefore
      }
      #expect(lost > 0 && reader.lostCount == lost && Int(lost) + received.count == sent.count)
      for (number, bytes) in received where sent[number - 1] != bytes { Issue.record("message \(number) differs") }
    }
  }

  @Test func `who joins late gets as much of the history as it asked for and is left`() throws {
    let region = try Self.region(capacity: 1024)
    var writer = try region.broadcastWriter(of: "b")
    func numbers(_ start: BroadcastReader.Start) throws -> [UInt64] {
      var reader = try region.broadcastReader(of: "b", from: start)
      var numbers: [UInt64] = []
      while let (_, message) = try Self.receive(&reader) { numbers.append(message.number) }
      #expect(reader.lostCount == 0)
      return numbers
    }
    #expect(try numbers(.next) == [] && numbers(.oldest) == [])
    // 8 bytes and 24 around them: 32 of them are kept.
    for number in 1...100 as ClosedRange<UInt64> {
      #expect(try Self.send(&writer, [UInt8](repeating: 1, count: 8)))
      #expect(try numbers(.next) == [])
      #expect(try numbers(.latest(0)) == [] && numbers(.latest(-1)) == [])
      #expect(try numbers(.latest(1)) == [number])
      #expect(try numbers(.latest(5)) == Array(max(1, number - min(number, 5) + 1)...number))
      #expect(try numbers(.oldest) == Array((number > 32 ? number - 31 : 1)...number))
    }
  }

  @Test func `followers lose nothing: the writer waits for them, and for no dead one`() throws {
    let region = try Self.region(capacity: 128, followers: 2)
    var writer = try region.broadcastWriter(of: "b")
    var slow = try region.broadcastReader(of: "b")
    do {
      var first = try region.broadcastReader(of: "b", losing: .nothing)
      var second = try region.broadcastReader(of: "b", losing: .nothing)
      #expect(code { _ = try region.broadcastReader(of: "b", losing: .nothing) } == .taken)
      for value in 1...4 as ClosedRange<UInt8> { #expect(try Self.send(&writer, [value])) }
      #expect(try !Self.send(&writer, [5]))
      let one: [UInt8] = [5]
      #expect(try !writer.sendOrDrop(one.span.bytes))
      #expect(code { try writer.send(one.span.bytes, until: .after(.milliseconds(5))) } == .timedOut)
      #expect(try Self.receive(&first)?.bytes == [1])
      #expect(try !Self.send(&writer, [5]))
      #expect(try Self.receive(&second)?.bytes == [1])
      #expect(try Self.send(&writer, [5]))
      for value in 2...5 as ClosedRange<UInt8> {
        #expect(try Self.receive(&first)?.bytes == [value])
        #expect(try Self.receive(&second)?.bytes == [value])
      }
    }
    // They are gone, and nobody is waited for.
    for value in 6...200 as ClosedRange<UInt8> { #expect(try Self.send(&writer, [value])) }
    let got = try Self.receive(&slow)
    #expect(
      got.map { UInt64($0.bytes[0]) == $0.message.number && $0.message.lostBefore == $0.message.number - 1 } == true)
  }

  @Test func `what a follower's reader throws at is not received`() throws {
    struct Stop: Error {}
    let region = try Self.region(capacity: 128, followers: 1)
    var writer = try region.broadcastWriter(of: "b")
    var follower = try region.broadcastReader(of: "b", losing: .nothing)
    for value in 1...4 as ClosedRange<UInt8> { #expect(try Self.send(&writer, [value])) }
    var seen: [UInt64] = []
    #expect(throws: Stop.self) {
      try follower.tryReceive(upTo: 4) { _, message in
        seen.append(message.number)
        if seen.count == 3 { throw Stop() }
      }
    }
    #expect(throws: Stop.self) { try follower.tryReceive { _, _ in throw Stop() } }
    #expect(try !Self.send(&writer, [5]), "nothing was given back")
    #expect(try follower.tryReceive(upTo: 9) { _, message in seen.append(message.number) } == 4)
    #expect(seen == [1, 2, 3, 1, 2, 3, 4])
    #expect(try Self.send(&writer, [5]))
  }

  @Test func `a channel has one writer, and the next one goes on with the numbers`() throws {
    let region = try Self.region()
    var reader = try region.broadcastReader(of: "b")
    for number in 1...5 as ClosedRange<UInt64> {
      var writer = try region.broadcastWriter(of: "b")
      #expect(code { _ = try region.broadcastWriter(of: "b") } == .taken)
      #expect(try Self.send(&writer, [1, 2, 3]))
      #expect(try Self.receive(&reader)?.message.number == number)
    }
    #expect(code { try reader.receive(until: .after(.milliseconds(5))) { _, _ in } } == .timedOut)
  }

  @Test func `no size is taken for a channel's that is none`() throws {
    for (capacity, followers) in [(1 << 37, 0), (1024, -1), (1024, 257)] {
      #expect(code { _ = try Self.region(capacity: capacity, followers: followers) } == .invalidArgument)
    }
    for (size, element) in [(384 + 1024, 1000), (384 + 1000, 1024), (100, 64), (384 + 64 + 64, 64)] {
      let part = RegionLayout.Part("b", kind: .broadcast, byteCount: size, elementSize: element)
      let forged = try SharedRegion(creating: RegionLayout(part))
      #expect(code { _ = try forged.broadcastWriter(of: "b") } == .damaged)
      #expect(code { _ = try forged.broadcastReader(of: "b") } == .damaged)
    }
  }

  @Test func `a reader that may only look gets the same`() throws {
    let folder = try NamedRegionTests.folder()
    let runtime = RuntimeFolder(folder.path)
    let region = try SharedRegion(creating: RegionLayout(.broadcast("b", capacity: 256)), named: "r", in: runtime)
    let look = try SharedRegionReader(named: "r", in: runtime)
    var writer = try region.broadcastWriter(of: "b")
    var reader = try look.broadcastReader(of: "b")
    #expect(code { try reader.receive(until: .after(.milliseconds(20))) { _, _ in } } == .timedOut)
    #expect(try Self.send(&writer, [7]))
    #expect(try reader.receive { bytes, _ in bytes.unsafeLoad(as: UInt8.self) } == 7)
  }

  @Test func `threads that write and read at full speed see whole messages alone`() throws {
    let region = try Self.region(capacity: 2048, followers: 1)
    let count: UInt64 = RegionScene.isLong ? 3_000_000 : 100_000
    let failures = Locked<[String]>([])
    let lost = Locked<UInt64>(0)
    let ready = Locked(0)
    withWatchdog("broadcast on threads", seconds: 240) {
      onThreads(4) { thread in
        do {
          if thread == 0 {
            var writer = try region.broadcastWriter(of: "b")
            var words = [UInt64](repeating: 0, count: 12)
            // Not before all are there.
            while ready.withLock({ $0 }) < 3 { pgt_sleep_us(100) }
            for number in 1...count {
              for index in words.indices { words[index] = number &* 31 }
              let length = Int(number % 12) + 1
              try writer.send(words.span.bytes.extracting(0..<length * 8), type: UInt16(length))
            }
          } else {
            var reader = try region.broadcastReader(of: "b", losing: thread == 1 ? .nothing : .oldest)
            var last: UInt64 = 0
            ready.withLock { $0 += 1 }
            while last < count {
              try reader.receive(upTo: 16, until: .after(.seconds(30))) { bytes, message in
                let isWhole =
                  bytes.byteCount == Int(message.number % 12 + 1) * 8 && bytes.byteCount == Int(message.type) * 8
                  && (0..<bytes.byteCount / 8).allSatisfy {
                    bytes.unsafeLoad(fromByteOffset: $0 * 8, as: UInt64.self) == message.number &* 31
                  }
                if !isWhole || message.number != last + message.lostBefore + 1 {
                  failures.withLock { $0.append("reader \(thread): \(message)") }
                }
                if thread == 1, message.lostBefore > 0 { failures.withLock { $0.append("a follower lost") } }
                last = message.number
              }
            }
            if thread > 1 { lost.withLock { $0 += reader.lostCount } }
          }
        } catch {
          failures.withLock { $0.append("\(thread): \(error)") }
        }
      }
    }
    #expect(failures.withLock { $0.prefix(3) } == [])
    print("broadcast on threads: \(count) messages, the two readers lost \(lost.withLock { $0 })")
  }

  @Test func `bytes that no writer writes are an error, again and again`() throws {
    let folder = try NamedRegionTests.folder()
    let region = try SharedRegion(
      creating: RegionLayout(.broadcast("b", capacity: 256, followers: 1)), named: "r", in: RuntimeFolder(folder.path))
    let file = try FileDescriptor.open(folder.appending("r.region"), .readWrite)
    defer { try? file.close() }
    let part = Int64(65_536 + 64 * 128)
    var reader = try region.broadcastReader(of: "b")
    do {
      var writer = try region.broadcastWriter(of: "b")
      for value in 1...3 as ClosedRange<UInt8> { #expect(try Self.send(&writer, [value])) }
    }
    #expect(try Self.receive(&reader)?.bytes == [1])
    // The second message says that it is longer than what was committed.
    _ = try file.writeAll(toAbsoluteOffset: part + 384 + 128 + 32, [255, 0, 0, 0])
    #expect(code { _ = try Self.receive(&reader) } == .peerMisbehaved)
    #expect(code { _ = try Self.receive(&reader) } == .peerMisbehaved)
    // The tail is no message's end.
    _ = try file.writeAll(toAbsoluteOffset: part, [60, 1])
    #expect(code { _ = try region.broadcastWriter(of: "b") } == .peerMisbehaved)
    #expect(code { _ = try region.broadcastReader(of: "b", from: .oldest) } == .peerMisbehaved)
    #expect(code { _ = try region.broadcastReader(of: "b", losing: .nothing) } == .peerMisbehaved)
    #expect(code { _ = try Self.receive(&reader) } == .peerMisbehaved)
  }

  @Test func `what a killed writer has overwritten is lost and never shown, also when its successor writes less`()
    throws
  {
    let folder = try NamedRegionTests.folder()
    let region = try SharedRegion(
      creating: RegionLayout(.broadcast("b", capacity: 256)), named: "r", in: RuntimeFolder(folder.path))
    let file = try FileDescriptor.open(folder.appending("r.region"), .readWrite)
    defer { try? file.close() }
    let part = Int64(65_536 + 64 * 128)
    var reader = try region.broadcastReader(of: "b")
    do {
      // Eight messages of 32 bytes fill the channel.
      var writer = try region.broadcastWriter(of: "b")
      for value in 1...8 as ClosedRange<UInt8> {
        #expect(try Self.send(&writer, [UInt8](repeating: value, count: 8)))
      }
    }
    #expect(try Self.receive(&reader)?.bytes == [UInt8](repeating: 1, count: 8))
    // A writer that was killed when it had stored the payload of a message of 64 bytes: over the second and third message.
    _ = try file.writeAll(toAbsoluteOffset: part + 16, [88, 1, 0, 0, 0, 0, 0, 0])
    _ = try file.writeAll(toAbsoluteOffset: part + 384 + 16, [UInt8](repeating: 0xEE, count: 64))
    var successor = try region.broadcastWriter(of: "b")
    #expect(try Self.send(&successor, [UInt8](repeating: 9, count: 8)))
    var last: UInt64 = 1
    while let (bytes, message) = try Self.receive(&reader) {
      #expect(bytes == [UInt8](repeating: UInt8(message.number), count: 8))
      #expect(message.number == last + message.lostBefore + 1)
      last = message.number
    }
    #expect(last == 9 && reader.lostCount >= 2)
  }
}

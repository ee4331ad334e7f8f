// SPDX-License-Identifier: Apache-2.0

import CPlatform
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

/// The header's bytes, and what becomes of those that nobody of ours wrote.
@Suite struct RegionFormatTests {
  static func bytes(_ descriptor: FileDescriptor, _ count: Int = 65_536) throws -> [UInt8] {
    var bytes = [UInt8](repeating: 0, count: count)
    #expect(pread(descriptor.rawValue, &bytes, count, 0) == count)
    return bytes
  }

  static func number(_ bytes: [UInt8], _ offset: Int, _ size: Int) -> UInt64 {
    (0..<size).reduce(0) { $0 | UInt64(bytes[offset + $1]) << UInt64(8 * $1) }
  }

  @Test func `version 1 is these bytes`() throws {
    let region = try SharedRegion(
      creating: RegionLayout(.counters("served", count: 4), .event("ping"), .bytes("table", count: 1000)))
    let descriptor = try region.descriptorForChild()
    defer { try? descriptor.close() }
    let bytes = try Self.bytes(descriptor)
    #expect(Array(bytes[0..<8]) == Array("PGWREGN\n".utf8))
    let fields: [(offset: Int, size: Int, value: UInt64)] = [
      (8, 2, 1), (10, 2, 0), (12, 4, 0x0102_0304), (16, 4, 65_536), (20, 4, 3), (24, 8, UInt64(region.byteCount)),
      (48, 4, 64),
      (52, 4, 128),
      // Parts: kind, offset, bytes, bytes of an element.
      (128 + 48, 4, 2), (128 + 56, 8, 65_536 + 64 * 128), (128 + 64, 8, 256), (128 + 72, 8, 64),
      (256 + 48, 4, 3), (256 + 56, 8, 65_536 + 64 * 128 + 256), (256 + 64, 8, 64), (256 + 72, 8, 0),
      (384 + 48, 4, 1), (384 + 56, 8, 65_536 + 64 * 128 + 384), (384 + 64, 8, 1000), (384 + 72, 8, 0),
    ]
    withEvery("offset", in: fields) { offset, size, value in
      check(Self.number(bytes, offset, size) == value, "\(Self.number(bytes, offset, size)) is not \(value)")
    }
    #expect(bytes[128..<176] == (Array("served".utf8) + [UInt8](repeating: 0, count: 42))[...])
    #expect(bytes[512...].allSatisfy { $0 == 0 })
    let text = (0..<2).map { String(Self.number(bytes, 32 + 8 * $0, 8), radix: 16) }
    #expect(region.identifier.description.hasSuffix(text[1]) && region.identifier.description.contains(text[0]))
    // The place of its maker.
    var place = [UInt8](repeating: 0, count: 128)
    #expect(pread(descriptor.rawValue, &place, 128, 65_536) == 128)
    #expect(Self.number(place, 0, 8) == region.token.rawValue && Self.number(place, 8, 8) == 1)
    #expect(Self.number(place, 16, 8) == UInt64(getpid()))
  }

  /// A memory file with these bytes at its front, of the size that a region of that header has.
  static func file(_ bytes: [UInt8], size: Int) throws -> FileDescriptor {
    let descriptor = FileDescriptor(rawValue: pgt_memfd("forged", true, false))
    #expect(ftruncate(descriptor.rawValue, size) == 0)
    _ = try descriptor.writeAll(toAbsoluteOffset: 0, bytes)
    return descriptor
  }

  static func checksum(_ bytes: [UInt8]) -> UInt32 {
    let parts = Int(min(number(bytes, 20, 4), 500))
    return bytes.withUnsafeBytes { pgw_crc32c(pgw_crc32c(0, $0.baseAddress, 64), $0.baseAddress! + 128, parts * 128) }
  }

  /// What is at an offset of a part, as words.
  static func words(_ region: borrowing SharedRegion, _ offset: Int, _ count: Int) throws -> [UInt64] {
    let file = try region.descriptorForChild()
    defer { try? file.close() }
    var words = [UInt64](repeating: 0, count: count)
    let got = try words.withUnsafeMutableBytes {
      try file.read(fromAbsoluteOffset: Int64(65_536 + 64 * 128 + offset), into: $0)
    }
    try #require(got == count * 8)
    return words.map { UInt64(littleEndian: $0) }
  }

  @Test func `the channels of version 1 are these words`() throws {
    let abc = Array("abcdefghij".utf8)
    let low: UInt64 = 0x6867_6665_6463_6261
    do {
      // A lane of 256 bytes: two messages, one of them consumed.
      let region = try SharedRegion(creating: RegionLayout(.ring("r", capacity: 256)))
      var producer = try region.producer(of: "r")
      var consumer = try region.consumer(of: "r")
      try producer.send(abc.span.bytes, type: 7)
      try producer.send(RawSpan(), type: 1)
      check(try consumer.tryReceive { _, _ in true } == true, "received")
      let token = region.token.rawValue
      #expect(try Self.words(region, 0, 1) == [token])
      #expect(try Self.words(region, 256, 3) == [32, token, 0])
      #expect(try Self.words(region, 256 + 128, 1) == [24])
      #expect(try Self.words(region, 256 + 384, 4) == [10 | 7 << 32, low, 0x6A69, 1 << 32])
    }
    do {
      let region = try SharedRegion(creating: RegionLayout(.broadcast("b", capacity: 256, followers: 1)))
      var writer = try region.broadcastWriter(of: "b")
      let follower = try region.broadcastReader(of: "b", losing: .nothing)
      check(try writer.trySend(abc.span.bytes, type: 7), "sent")
      check(try writer.trySend(RawSpan(), type: 1), "sent")
      let token = region.token.rawValue
      // Tail, writer, intent, dropped, joins; the follower's place; the data.
      #expect(try Self.words(region, 0, 5) == [64, token, 64, 0, 1])
      #expect(try Self.words(region, 384, 2) == [token, 0])
      let first: UInt64 = 10 | 7 << 32
      #expect(
        try Self.words(region, 384 + 128, 8) == [first, 1, low, 0x6A69, first, 1 << 32, 2, 1 << 32])
      _ = follower.lostCount
    }
    do {
      let region = try SharedRegion(creating: RegionLayout(.cell("c", of: UInt64.self)))
      var writer = try region.cellWriter("c", of: UInt64.self)
      try writer.store(5)
      try writer.store(6)
      #expect(try Self.words(region, 0, 2) == [2, region.token.rawValue])
      #expect(try Self.words(region, 128, 1) == [6] && Self.words(region, 256, 1) == [5])
    }
  }

  @Test func `every changed byte of a header is an error or changes nothing`() throws {
    let region = try SharedRegion(creating: RegionScene.layout())
    let descriptor = try region.descriptorForChild()
    defer { try? descriptor.close() }
    let good = try Self.bytes(descriptor)
    let used = 128 + 4 * 128
    var accepted: [Int] = []
    for offset in 0..<used + 256 {
      var bytes = good
      bytes[offset] ^= 1 << UInt8(offset % 8)
      let forged = try Self.file(bytes, size: region.byteCount)
      let error = code {
        let opened = try SharedRegion(inheriting: forged)
        #expect(opened.layout == region.layout && opened.identifier == region.identifier)
      }
      if error == nil { accepted.append(offset) }
    }
    // What no checksum covers has no meaning yet.
    #expect(accepted == Array(68..<128) + Array(used..<used + 256))
  }

  @Test func `a later major version is refused, a later minor one is read`() throws {
    let region = try SharedRegion(creating: RegionScene.layout())
    let descriptor = try region.descriptorForChild()
    defer { try? descriptor.close() }
    let good = try Self.bytes(descriptor)
    for (offset, expected) in [(8, SharedMemoryError.Code.versionUnsupported), (10, nil)] {
      var bytes = good
      bytes[offset] += 1
      withUnsafeBytes(of: Self.checksum(bytes)) { bytes.replaceSubrange(64..<68, with: $0) }
      let forged = try Self.file(bytes, size: region.byteCount)
      #expect(code { _ = try SharedRegion(inheriting: forged) } == expected)
    }
  }

  @Test func `numbers that somebody made up are checked one by one`() throws {
    let region = try SharedRegion(creating: RegionScene.layout())
    let descriptor = try region.descriptorForChild()
    defer { try? descriptor.close() }
    let good = try Self.bytes(descriptor)
    var random = Random(seed: 12)
    let interesting: [UInt64] = [
      0, 1, 127, 128, 129, 65_535, 65_536, 1 << 31, 1 << 32, 1 << 40, (1 << 40) + 1, 1 << 63, .max, .max - 127,
    ]
    var fields: [(offset: Int, size: Int)] = [(16, 4), (20, 4), (24, 8), (48, 4), (52, 4)]
    for part in 0..<4 {
      for (offset, size) in [(0, 8), (48, 4), (56, 8), (64, 8), (72, 8)] {
        fields.append((128 + part * 128 + offset, size))
      }
    }
    let forgeries = RegionScene.isLong ? 200_000 : 5_000
    var refused = 0
    var opened = 0
    try withWatchdog("forged headers", seconds: 300) {
      for _ in 0..<forgeries {
        var bytes = good
        for _ in 0...random.below(2) {
          let (offset, size) = fields[random.below(fields.count)]
          var value = interesting[random.below(interesting.count)]
          if random.below(4) == 0 { value = random.next() << UInt64(random.below(8)) }
          if random.below(4) == 0 { value = Self.number(good, offset, size) &+ UInt64(random.below(257)) &- 128 }
          for byte in 0..<size { bytes[offset + byte] = UInt8(truncatingIfNeeded: value >> UInt64(8 * byte)) }
        }
        // With a right checksum, or nothing behind it would be looked at.
        withUnsafeBytes(of: Self.checksum(bytes)) { bytes.replaceSubrange(64..<68, with: $0) }
        let forged = try Self.file(bytes, size: region.byteCount)
        do {
          let forgery = try SharedRegion(inheriting: forged)
          opened += 1
          // Whatever it says lies inside, and can be used.
          for part in forgery.layout.parts {
            #expect(part.byteCount >= 1 && part.byteCount < forgery.byteCount)
            switch part.kind {
            case .bytes:
              try forgery.withBytes(part.name) { bytes in
                bytes.storeBytes(of: 1, toByteOffset: 0, as: UInt8.self)
                bytes.storeBytes(of: 1, toByteOffset: bytes.byteCount - 1, as: UInt8.self)
              }
            case .counters:
              if let counters = try? forgery.counters(part.name) {
                for index in 0..<counters.count { counters.add(1, at: index) }
              }
            default: if let event = try? forgery.event(part.name) { event.signal() }
            }
          }
        } catch let error as SharedMemoryError {
          refused += 1
          #expect([.damaged, .notARegion, .versionUnsupported].contains(error.code), "\(error)")
        }
      }
    }
    #expect(refused > forgeries / 4 && opened > 0)
  }

  @Test func `files that are none are refused`() throws {
    let folder = try TemporaryDirectory()
    let cases: [(String, [UInt8])] = [
      ("empty", []), ("short", Array("PGWREGN\n".utf8)), ("text", Array(repeating: 65, count: 100_000)),
      ("zeros", Array(repeating: 0, count: 100_000)),
    ]
    for (name, bytes) in cases {
      let path = try folder.file(name, bytes)
      let file = try FileDescriptor.open(path, .readWrite)
      #expect(code { _ = try SharedRegion(inheriting: file) } == .notARegion, "\(name)")
    }
    let directory = try FileDescriptor.open(folder.path, .readOnly)
    #expect(code { _ = try SharedRegion(inheriting: directory) } != nil)
    #expect(code { _ = try SharedRegion(inheriting: FileDescriptor(rawValue: 9999)) } != nil)
  }
}

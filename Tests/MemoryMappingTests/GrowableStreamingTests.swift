// SPDX-License-Identifier: Apache-2.0

import MemoryMapping
import SystemPackage
import Testing
import _CTestSupport
import _StorageModel
import _TestSupport

#if canImport(Glibc)
  import Glibc
#elseif canImport(Darwin)
  import Darwin
#endif

/// Appending the records of a stream.
@Suite struct GrowableStreamingTests {
  /// A pipe that a thread fills in pieces; `body` gets its end for reading.
  static func withStream(
    _ bytes: [UInt8], pieces: Int, nonBlocking: Bool = false, _ body: (FileDescriptor) throws -> Void
  ) throws {
    let pipe = try FileDescriptor.pipe()
    if nonBlocking { _ = fcntl(pipe.readEnd.rawValue, F_SETFL, O_NONBLOCK) }
    let outcome = Locked<(any Error)?>(nil)
    withWatchdog("stream") {
      onThreads(2) { index in
        if index == 0 {
          for start in stride(from: 0, to: bytes.count, by: pieces) {
            _ = try? pipe.writeEnd.writeAll(bytes[start..<min(start + pieces, bytes.count)])
          }
          try? pipe.writeEnd.close()
        } else {
          do { try body(pipe.readEnd) } catch { outcome.withLock { $0 = error } }
          try? pipe.readEnd.close()
        }
      }
    }
    if let error = outcome.withLock({ $0 }) { throw error }
  }

  /// Records of lengths around everything that could matter, the last one without its end.
  static func text(_ end: UInt8) -> [UInt8] {
    var bytes: [UInt8] = []
    for length in [0, 1, 3, 4095, 4096, 70_000, 262_143, 262_144, 700_000, 2, 0] {
      bytes += [UInt8](repeating: 0x61, count: length) + [end]
    }
    return bytes + [0x62, 0x63]
  }

  @Test(arguments: [7, 4096, 65_536, 1 << 20])
  func `lines and NUL-ended records of any length arrive whole, however the stream is cut`(_ pieces: Int) throws {
    for (framing, end) in [(RecordFraming.lines, 0x0A as UInt8), (.nullTerminated, 0)] {
      for (flushEvery, nonBlocking) in [(nil, false), (3, true)] as [(Int?, Bool)] {
        let folder = try TemporaryDirectory()
        let bytes = pieces == 7 ? Array(Self.text(end).suffix(20_000)) : Self.text(end)
        var file = try GrowableMappedFile(folder.appending("log"), options: GrowableMappedFileTests.small)
        try file.append([9 as UInt8].span.bytes)
        var result = AppendedRecords?.none
        try Self.withStream(bytes, pieces: pieces, nonBlocking: nonBlocking) {
          result = try file.append(recordsFrom: $0, framing: framing, flushEvery: flushEvery)
        }
        let records = bytes.count { $0 == end } + 1
        #expect(result?.records == records && result?.bytes == bytes.count && result?.leftOver == 0)
        #expect(result?.failure == nil && result?.wasCancelled == false)
        #expect(result?.flushes == flushEvery.map { records / $0 } ?? 0)
        #expect(try GrowableMappedFileTests.bytes(file) == [9] + bytes)
        try file.close()
        #expect(try GrowableMappedFile.verify(folder.appending("log")).committedCount == bytes.count + 1)
      }
    }
  }

  @Test func `records of a fixed size: a rest is told, and what is whole is appended`() throws {
    let folder = try TemporaryDirectory()
    for rest in [0, 1, 23] {
      var options = GrowableMappedFileTests.small
      options.stride = 24
      var file = try GrowableMappedFile(folder.appending("log\(rest)"), options: options)
      let bytes = [UInt8](repeating: 5, count: 24 * 20_000 + rest)
      var result = AppendedRecords?.none
      try Self.withStream(bytes, pieces: 1001) {
        result = try file.append(recordsFrom: $0, framing: .fixed(24), flushEvery: 7000)
      }
      #expect(result?.records == 20_000 && result?.leftOver == rest && result?.flushes == 2)
      #expect((result?.failure == nil) == (rest == 0))
      if rest > 0 { #expect(result?.failure?.code == .invalidLayout && "\(result!.failure!)".contains("20000")) }
      #expect(file.count == 480_000)
    }
  }

  @Test func `what does not fit is refused before anything is read`() throws {
    let folder = try TemporaryDirectory()
    var options = GrowableMappedFileTests.small
    options.stride = 8
    let path = folder.appending("log")
    var file = try GrowableMappedFile(path, options: options)
    let input = try FileDescriptor.open(folder.file("in", Array("12345678".utf8)), .readOnly)
    defer { try? input.close() }
    let own = try FileDescriptor.open(path, .readOnly)
    defer { try? own.close() }
    func refused(_ stream: FileDescriptor, _ framing: RecordFraming, _ every: Int?, _ code: MappingError.Code) {
      do {
        _ = try file.append(recordsFrom: stream, framing: framing, flushEvery: every)
        Issue.record("\(framing) was taken")
      } catch { #expect(error.code == code) }
    }
    refused(input, .lines, nil, .invalidLayout)
    refused(input, .nullTerminated, nil, .invalidLayout)
    refused(input, .fixed(4), nil, .invalidLayout)
    for size in [0, -1, .min, .max] { refused(input, .fixed(size), nil, .invalidRange) }
    for every in [0, -1, .min] { refused(input, .fixed(8), every, .invalidRange) }
    refused(own, .fixed(8), nil, .wrongState)
    #expect(try input.seek(offset: 0, from: .current) == 0)
    #expect(try file.append(recordsFrom: input, framing: .fixed(8)).records == 1)
  }

  @Test func `a cancelled stream ends after a whole record`() throws {
    let folder = try TemporaryDirectory()
    var file = try GrowableMappedFile(folder.appending("log"), options: GrowableMappedFileTests.small)
    let pipe = try FileDescriptor.pipe()
    defer {
      try? pipe.readEnd.close()
      try? pipe.writeEnd.close()
    }
    _ = try pipe.writeEnd.writeAll(Array("one\ntwo\nthr".utf8))
    // The stream stays open: only the question ends it.
    var asked = 0
    let result = try withWatchdog("cancel", seconds: 20) {
      try file.append(recordsFrom: pipe.readEnd, framing: .lines) {
        asked += 1
        return asked > 2
      }
    }
    #expect(result.wasCancelled && result.records == 2 && result.bytes == 8 && result.leftOver == 3)
    #expect(result.failure == nil && file.count == 8)
  }

  @Test(.rootOnly("a full tmpfs"))
  func `a full disk tells how many records were appended, and none is torn`() throws {
    let image = try MountedImage(tmpfs: 1 << 20)
    let path = image.appending("log")
    var file = try GrowableMappedFile(path)
    let record = Array("0123456789abcdef0123456789abcd\n".utf8)
    let bytes = Array(repeatElement(record, count: 60_000).joined())
    var result = AppendedRecords?.none
    try Self.withStream(bytes, pieces: 1 << 16) { stream in
      result = try file.append(recordsFrom: stream, framing: .lines)
      // The writer shall not wait for ever.
      var rest = [UInt8](repeating: 0, count: 65_536)
      while try rest.withUnsafeMutableBytes({ try stream.read(into: $0) }) > 0 {}
    }
    let found = try #require(result)
    #expect(found.failure?.code == .noSpace && "\(found.failure!)".contains("\(found.records) records"))
    // The last page but one is used.
    #expect(found.bytes > (1 << 20) - 3 * 4096 && found.bytes == found.records * record.count)
    #expect(try GrowableMappedFileTests.bytes(file) == Array(bytes.prefix(found.bytes)))
    try file.close()
    #expect(try GrowableMappedFile.verify(path).committedCount == found.bytes)
  }

  @Test func `a stream that cannot be read, and a device that fails, end it with what was appended`() throws {
    let folder = try TemporaryDirectory()
    var file = try GrowableMappedFile(folder.appending("log"), options: GrowableMappedFileTests.small)
    let directory = try FileDescriptor.open(folder.path, .readOnly)
    defer { try? directory.close() }
    let result = try file.append(recordsFrom: directory, framing: .lines)
    #expect(result.failure?.code == .isDirectory && result.records == 0)
    let input = try FileDescriptor.open(folder.file("in", Array("a\nb\nc\nd\n".utf8)), .readOnly)
    defer { try? input.close() }
    var syncs = 0
    let failing = try CallWatch(before: {
      guard $0.kind == .syncData else { return .perform }
      syncs += 1
      return syncs == 2 ? .fail(.ioError) : .perform
    }).run { try file.append(recordsFrom: input, framing: .lines, flushEvery: 1) }
    #expect(failing.records == 2 && failing.flushes == 1 && failing.failure?.code == .inputOutput)
    #expect(file.isPoisoned && file.durableCount == 2)
    #expect(throws: MappingError.self) { _ = try file.append(recordsFrom: input, framing: .lines) }
  }
}

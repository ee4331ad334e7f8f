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

@Suite struct GrowableMappedFileTests {
  static func bytes(_ file: borrowing GrowableMappedFile) throws -> [UInt8] {
    try file.withBytes { $0.withUnsafeBytes { Array($0) } }
  }
  static func bytes(_ reader: borrowing GrowableMappedReader) throws -> [UInt8] {
    try reader.withBytes { $0.withUnsafeBytes { Array($0) } }
  }
  static func size(_ path: FilePath) throws -> Int {
    let file = try FileDescriptor.open(path, .readOnly)
    defer { try? file.close() }
    return try Int(file.seek(offset: 0, from: .end))
  }
  static let small: GrowableMappedFile.Options = {
    var options = GrowableMappedFile.Options()
    options.chunk = 4096...1 << 16
    options.maximumSize = 1 << 30
    return options
  }()

  @Test func `what is appended is there, at an address that stays, for readers and after a close`() throws {
    let folder = try TemporaryDirectory()
    let path = folder.appending("log")
    var file = try GrowableMappedFile(path, options: Self.small)
    var reader = try GrowableMappedReader(path)
    #expect(file.isEmpty == true && reader.count == 0)
    var expected: [UInt8] = []
    var address: UnsafeRawPointer?
    for number in 1...3000 as ClosedRange<UInt64> {
      let record = StorageModel.Records.record(number)
      #expect(try file.append(record.span.bytes) == expected.count)
      expected += record
      if number % 100 == 0 {
        #expect(try reader.refresh() == expected.count)
        #expect(try Self.bytes(reader) == expected)
        let now = try reader.withBytes { $0.withUnsafeBytes { $0.baseAddress } }
        #expect(address == nil || address == now)
        address = now
      }
    }
    #expect(try Self.bytes(file) == expected)
    try file.flush()
    #expect(file.durableCount == expected.count)
    try file.close()
    #expect(try Self.size(path) == 4096 + expected.count)
    #expect(try Self.bytes(GrowableMappedReader(path)) == expected)
    #expect(try Self.bytes(GrowableMappedFile(path)) == expected)
  }

  @Test func `values, empty records and records in place`() throws {
    let folder = try TemporaryDirectory()
    let path = folder.appending("log")
    var file = try GrowableMappedFile(path, options: Self.small)
    #expect(try file.append(UInt64(0x0807_0605_0403_0201).littleEndian) == 0)
    #expect(try file.append([UInt8]().span.bytes) == 8)
    let at = try file.append(byteCount: 100) { span in
      span.withUnsafeMutableBytes { $0.copyBytes(from: [9, 8, 7]) }
      return 3
    }
    #expect(at == 8)
    struct Stop: Error {}
    #expect(throws: Stop.self) { try file.append(byteCount: 5000) { _ in throw Stop() } }
    #expect(try file.append(byteCount: 10) { _ in 0 } == 11)
    for wrong in [-1, 11, Int.max] {
      #expect(throws: MappingError.self) { try file.append(byteCount: 10) { _ in wrong } }
    }
    #expect(throws: MappingError.self) { try file.append(byteCount: -1) { _ in 0 } }
    #expect { try file.append(byteCount: .max) { _ in 0 } } throws: {
      ($0 as? MappingError)?.code == .addressSpaceExhausted
    }
    #expect { try file.reserve(2 << 30) } throws: { ($0 as? MappingError)?.code == .addressSpaceExhausted }
    #expect(throws: MappingError.self) { try file.reserve(-1) }
    #expect(try Self.bytes(file) == [1, 2, 3, 4, 5, 6, 7, 8, 9, 8, 7])
    for range in [-1..<3, 0..<12, Int.min..<Int.max] {
      #expect(throws: MappingError.self) { try file.withBytes(range) { _ in } }
    }
  }

  @Test func `a stride is kept with the file, and what does not fit it is refused`() throws {
    let folder = try TemporaryDirectory()
    let path = folder.appending("log")
    var options = Self.small
    options.stride = 24
    var file = try GrowableMappedFile(path, options: options)
    try file.append([UInt8](repeating: 1, count: 48).span.bytes)
    #expect { try file.append(UInt32(1)) } throws: { ($0 as? MappingError)?.code == .invalidLayout }
    #expect(throws: MappingError.self) { try file.append(byteCount: 48) { _ in 23 } }
    #expect(file.count == 48)
    try file.close()
    options.stride = 8
    #expect { _ = try GrowableMappedFile(path, options: options) } throws: {
      ($0 as? MappingError)?.code == .invalidLayout
    }
    options.stride = 0
    #expect(try GrowableMappedFile(path, options: options).stride == 24)
    #expect(try GrowableMappedReader(path).stride == 24)
  }

  @Test func `other files are refused and left as they are`() throws {
    let folder = try TemporaryDirectory()
    for content in [
      Array("hello".utf8), [UInt8](repeating: 7, count: 9000),
      Array("PGWGROW\n".utf8) + [UInt8](repeating: 0, count: 6000),
    ] {
      let path = try folder.file("other", content)
      #expect(throws: MappingError.self) { _ = try GrowableMappedFile(path) }
      #expect(throws: MappingError.self) { _ = try GrowableMappedReader(path) }
      #expect(try PatternFile.read(path, 0..<10_000) == content)
    }
    #expect { _ = try GrowableMappedFile(folder.appending("none"), creating: false) } throws: {
      ($0 as? MappingError)?.code == .notFound
    }
    #expect { _ = try GrowableMappedFile(folder.path) } throws: { ($0 as? MappingError)?.code == .isDirectory }
    let path = folder.appending("log")
    let first = try GrowableMappedFile(path, options: Self.small)
    #expect { _ = try GrowableMappedFile(path) } throws: { ($0 as? MappingError)?.code == .busy }
    try first.close()
  }

  @Test func `a writer that ends without a close leaves all that was committed`() throws {
    let folder = try TemporaryDirectory()
    let path = folder.appending("log")
    var expected: [UInt8] = []
    for round in 1...20 as ClosedRange<UInt64> {
      var file = try GrowableMappedFile(path, options: Self.small)
      #expect(try Self.bytes(file) == expected)
      for number in 1...round {
        try file.append(StorageModel.Records.record(number).span.bytes)
        expected += StorageModel.Records.record(number)
        if round % 3 == 0, number == round / 2 { try file.flush() }
      }
    }
    #expect(try Self.bytes(GrowableMappedReader(path)) == expected)
  }

  @Test(.rootOnly("a full tmpfs")) func `a full disk is an error at the append that meets it, and nothing is lost`()
    throws
  {
    for prefaults in [false, true] {
      let disk = try MountedImage(tmpfs: 1 << 20)
      let path = disk.appending("log")
      var options = Self.small
      options.prefaults = prefaults
      var file = try GrowableMappedFile(path, options: options)
      var expected: [UInt8] = []
      var failure: MappingError?
      var number: UInt64 = 0
      while failure == nil {
        number += 1
        let record = StorageModel.Records.record(number)
        do throws(MappingError) {
          try file.append(record.span.bytes)
          expected += record
        } catch { failure = error }
      }
      #expect(failure?.code == .noSpace && failure?.path == path)
      // All but the last pages are used.
      #expect(expected.count > (1 << 20) - 20_000)
      #expect(try Self.bytes(file) == expected)
      // A smaller one may still fit; then not even one byte.
      while (try? file.append([1 as UInt8].span.bytes)) != nil { expected.append(1) }
      try file.flush()
      try file.close()
      #expect(try Self.bytes(GrowableMappedReader(path)) == expected)
    }
  }

  @Test func `readers on other threads see whole records only, always more of them`() throws {
    let folder = try TemporaryDirectory()
    let path = folder.appending("log")
    let writerBox = try WriterBox(GrowableMappedFile(path, options: Self.small))
    let total: UInt64 = 20_000
    let readers = try (0..<3).map { _ in try ReaderBox(GrowableMappedReader(path)) }
    let problems = Locked([String]())
    withWatchdog("concurrent readers") {
      onThreads(4) { thread in
        do {
          if thread == 3 {
            for number in 1...total { try writerBox.file.append(StorageModel.Records.record(number).span.bytes) }
          } else {
            var done = 0
            var seen: UInt64 = 0
            while seen < total {
              let now = try readers[thread].reader.refresh()
              let content = try readers[thread].reader.withBytes(done..<now) { $0.withUnsafeBytes { Array($0) } }
              guard let more = StorageModel.Records.count(content, from: seen + 1) else {
                problems.withLock { $0.append("a torn record behind \(seen)") }
                return
              }
              (done, seen) = (now, seen + more)
            }
          }
        } catch { problems.withLock { $0.append("\(error)") } }
      }
    }
    #expect(problems.withLock { $0 } == [])
  }

  @Test func `every single damaged byte of the header is refused or recovered, and never traps`() throws {
    let folder = try TemporaryDirectory()
    let path = folder.appending("log")
    do {
      var file = try GrowableMappedFile(path, options: Self.small)
      for number in 1...9 as ClosedRange<UInt64> {
        try file.append(StorageModel.Records.record(number).span.bytes)
        if number % 4 == 0 { try file.flush() }
      }
    }
    let good = try PatternFile.read(path, 0..<Int64(Self.size(path)))
    var random = Random(seed: 1)
    for at in 0..<2700 {
      var bad = good
      bad[at] ^= UInt8(1 + random.below(255))
      try folder.file("log", bad)
      if let file = try? GrowableMappedFile(path, options: Self.small) {
        let content = try Self.bytes(file)
        // What is believed has its checksum.
        #expect(
          StorageModel.Records.count(content).map { $0 == 9 || $0 == 8 || $0 == 4 } == true,
          "byte \(at): \(String(describing: StorageModel.Records.count(content))), \(content.count) bytes")
      }
      try folder.file("log", bad)
      _ = try? GrowableMappedReader(path)
    }
  }
}

final class ReaderBox: @unchecked Sendable {
  var reader: GrowableMappedReader
  init(_ reader: consuming GrowableMappedReader) { self.reader = reader }
}

final class WriterBox: @unchecked Sendable {
  var file: GrowableMappedFile
  init(_ file: consuming GrowableMappedFile) { self.file = file }
}

// SPDX-License-Identifier: Apache-2.0

import MemoryMapping
import SystemPackage
import Testing
import _TestSupport

#if canImport(Darwin)
  import Darwin
#elseif canImport(Musl)
  import Musl
#else
  import Glibc
#endif

@Suite struct FileBytesReadingTests {
  static let strategies: [FileBytes.Strategy?] = [nil] + FileBytes.Strategy.allCases.map(Optional.some)

  static func options(_ strategy: FileBytes.Strategy?) -> FileBytes.Options {
    var options = FileBytes.Options()
    options.strategy = strategy
    options.calibration = .builtIn
    return options
  }

  @Test(arguments: strategies) func `random copies are what pread gives`(_ strategy: FileBytes.Strategy?) throws {
    let folder = try TemporaryDirectory()
    let size: Int64 = 2_000_003
    let path = try folder.file("f", PatternFile.bytes(0..<size))
    for access in [
      FileBytes.AccessPattern.random(readSize: 500, count: 40), .random(readSize: 500, count: nil), .onceWhole,
    ] {
      let file = try FileBytes(path, access: access, options: Self.options(strategy))
      let plain = try FileDescriptor.open(path, .readOnly)
      defer { try? plain.close() }
      var ours = [UInt8](repeating: 0, count: 1000)
      var theirs = ours
      // More reads than were announced, so that the automatic choice turns to mapping on the way.
      for _ in 0..<400 {
        let offset = Int64.random(in: 0..<size)
        let length = Int.random(in: 0...1000)
        let got = try unsafe ours.withUnsafeMutableBytes {
          unsafe try file.copy(at: offset, into: UnsafeMutableRawBufferPointer(rebasing: $0[..<length]))
        }
        let expected = try unsafe theirs.withUnsafeMutableBytes {
          unsafe try plain.read(
            fromAbsoluteOffset: offset, into: UnsafeMutableRawBufferPointer(rebasing: $0[..<length]))
        }
        #expect(got == expected && ours.prefix(got).elementsEqual(theirs.prefix(got)), "\(offset) \(length)")
      }
      if strategy == nil, access == .random(readSize: 500, count: nil) {
        #expect(file.decision.strategy == .map, "\(file.decision)")
        #expect(file.decision.sentence.contains("mapping pays after"))
      } else if let strategy {
        #expect(file.decision.strategy == strategy)
      }
    }
  }

  @Test(arguments: strategies) func `many threads read through one value`(_ strategy: FileBytes.Strategy?) throws {
    final class Shared: Sendable {
      let file: FileBytes
      init(_ file: consuming FileBytes) { self.file = file }
    }
    let folder = try TemporaryDirectory()
    let size: Int64 = 1_500_000
    let path = try folder.file("f", PatternFile.bytes(0..<size))
    let shared = Shared(try FileBytes(path, access: .random(readSize: 4, count: nil), options: Self.options(strategy)))
    withWatchdog("eight readers", seconds: 60) {
      onThreads(8) { index in
        var random = SystemRandomNumberGenerator()
        for _ in 0..<2000 {
          let offset = Int64.random(in: 0..<size - 4, using: &random)
          let value = try? shared.file.load(at: offset, as: UInt32.self)
          let bytes = PatternFile.bytes(offset..<offset + 4)
          let expected = bytes.reversed().reduce(0) { $0 << 8 | UInt32($1) }
          if value != UInt32(littleEndian: expected) {
            Issue.record("thread \(index) at \(offset): \(String(describing: value))")
          }
        }
      }
    }
  }

  /// Cut while open: an error that says so, whatever reads.
  @Test(arguments: strategies) func `a file cut while in use is an error`(_ strategy: FileBytes.Strategy?) throws {
    let folder = try TemporaryDirectory()
    let page = Int64(SystemPage.size)
    let size = 400 * page
    for cut in [0, page, 10 * page + 100, size - 1] {
      let pattern = try PatternFile(folder.appending("f\(cut)"), size: size)
      let random = try FileBytes(pattern.path, access: .random(readSize: 16, count: 3), options: Self.options(strategy))
      var whole = try FileBytes(pattern.path, access: .onceWhole, options: Self.options(strategy))
      var ordered = try FileBytes(pattern.path, access: .sequential, options: Self.options(strategy))
      try pattern.resize(cut)
      let isBuffered = random.decision.sentence.hasPrefix("Read into one buffer")
      if !isBuffered {
        let error = #expect(throws: MappingError.self) {
          var part = [UInt8](repeating: 0, count: 16)
          _ = try unsafe part.withUnsafeMutableBytes { unsafe try random.copy(at: size - 16, into: $0) }
        }
        #expect(error?.code == .truncated, "\(cut)")
        if cut >= 16 {
          #expect(try random.load(at: 0, as: UInt8.self) == PatternFile.bytes(0..<1)[0])
        }
      }
      let error = #expect(throws: MappingError.self) { try whole.withBytes { Self.sum($0) } }
      #expect(error?.code == .truncated)
      var seen: Int64 = 0
      let third = #expect(throws: MappingError.self) {
        try ordered.forEachChunk(of: 8192) { chunk, _ in seen += Int64(Self.sum(chunk) > 0 ? 1 : 0) }
      }
      #expect(third?.code == .truncated)
    }
  }

  static func sum(_ span: RawSpan) -> Int {
    unsafe span.withUnsafeBytes { unsafe $0.reduce(0) { $0 &+ Int($1) } }
  }

  @Test(arguments: strategies) func `lines come whole whatever the pieces`(_ strategy: FileBytes.Strategy?) throws {
    let folder = try TemporaryDirectory()
    let long = String(repeating: "x", count: 700_000)
    let cases: [(String, [String])] = [
      ("", []), ("\n", [""]), ("a", ["a"]), ("a\nb", ["a", "b"]), ("a\r\nb\n", ["a", "b"]), ("\n\n", ["", ""]),
      ("a\rb\n", ["a\rb"]), ("\r\n", [""]), (long + "\n" + long, [long, long]),
      ("1\n" + long + "\r\n2", ["1", long, "2"]),
    ]
    for (index, (text, expected)) in cases.enumerated() {
      let path = try folder.file("t\(index)", Array(text.utf8))
      var file = try FileBytes(path, options: Self.options(strategy))
      var lines: [String] = []
      let bytes = Array(text.utf8)
      try file.forEachLine { line, offset in
        let found = unsafe line.withUnsafeBytes { unsafe Array($0) }
        #expect(bytes[Int(offset)..<Int(offset) + found.count].elementsEqual(found))
        lines.append(String(decoding: found, as: UTF8.self))
      }
      #expect(lines == expected, "case \(index)")
    }
  }

  @Test func `what a body throws ends the pass`() throws {
    struct Stop: Error {}
    let folder = try TemporaryDirectory()
    let path = try folder.file("f", PatternFile.bytes(0..<1_000_000))
    for strategy in Self.strategies {
      var file = try FileBytes(path, options: Self.options(strategy))
      var pieces = 0
      #expect(throws: Stop.self) {
        try file.forEachChunk(of: 1000) { _, _ in
          pieces += 1
          if pieces == 3 { throw Stop() }
        }
      }
      #expect(pieces == 3)
      #expect(throws: Stop.self) { try file.withBytes { _ in throw Stop() } }
    }
  }

  @Test func `where nothing can be mapped it reads and says so`() async {
    await #expect(processExitsWith: .success) {
      let folder = try TemporaryDirectory()
      let file = try PatternFile(folder.appending("big"), size: 512 << 20, windows: [0..<4096])
      try AddressLimit.set(leaving: 64 << 20)
      var bytes = try FileBytes(file.path, access: .sequential)
      var total: Int64 = 0
      try bytes.forEachChunk { chunk, _ in total += Int64(chunk.byteCount) }
      #expect(total == 512 << 20)
      #expect(bytes.decision.strategy == .stream)
      #expect(bytes.decision.sentence.contains("address space has no room"))
      var asked = FileBytes.Options()
      asked.strategy = .map
      let random = try FileBytes(file.path, access: .random(readSize: 1, count: 1_000_000), options: asked)
      #expect(random.decision.strategy == .read)
      #expect(random.decision.sentence.contains("mapping failed"))
      #expect(try random.load(at: 5, as: UInt8.self) == PatternFile.bytes(5..<6)[0])
    }
  }
}

/// A limit on the address space of this process, for exit tests.
enum AddressLimit {
  static func set(leaving room: UInt64) throws {
    let text = String(decoding: try PatternFile.read("/proc/self/statm", 0..<64), as: UTF8.self)
    let pages = try #require(UInt64(text.prefix { $0 != " " }))
    var limit = rlimit()
    limit.rlim_cur = rlim_t(pages * UInt64(SystemPage.size) + room)
    limit.rlim_max = limit.rlim_cur
    #if canImport(Glibc)
      let failed = unsafe setrlimit(__rlimit_resource_t(RLIMIT_AS.rawValue), &limit)
    #else
      let failed = unsafe setrlimit(RLIMIT_AS, &limit)
    #endif
    #expect(failed == 0)
  }
}

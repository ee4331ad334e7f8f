// SPDX-License-Identifier: Apache-2.0

import MemoryMapping
import PageCache
import SystemPackage
import Testing
import _CTestSupport
import _TestSupport

#if canImport(Darwin)
  import Darwin
#elseif canImport(Musl)
  import Musl
#else
  import Glibc
#endif

/// Every byte once and in order, whatever the method, the chunk, the size and the range.
@Suite(.serialized) struct StreamedFileTests {
  typealias Seen = StreamSupport.Seen

  @Test func `each method gives the file's bytes, for sizes around the borders of pages, chunks and windows`() throws {
    let folder = try TemporaryDirectory()
    let page = SystemPage.size
    let window = 8 << 20
    let sizes = [
      1, page - 1, page, page + 1, 3 * page - 7, 1 << 20, (1 << 20) + 1, window - 1, window, window + 1,
      2 * window + page + 5,
    ]
    withEvery("size", in: sizes) { size in
      let path = folder.appending("f")
      _ = try PatternFile(path, size: Int64(size))
      withEvery("method", in: StreamSupport.methods) { method in
        withEvery("chunk", in: [StreamedFile.ChunkSize.automatic, .bytes(1), .bytes(3 * page), .bytes(1 << 30)]) {
          chunk in
          guard chunk != .bytes(1) || size <= window / 4 else { return }
          let file = try StreamedFile(path, method: method, chunk: chunk)
          var seen = Seen()
          let report = try file.forEachChunk {
            seen.add($0, $1)
            return .continue
          }
          check(seen.firstWrong == nil, "byte \(seen.firstWrong ?? 0) is wrong")
          check(seen.bytes == size && report.bytes == size && file.count == Int64(size), "\(seen) \(report)")
          check(report.ending == .end && seen.longest <= report.chunkSize, "\(report)")
          if chunk == .bytes(1) {
            check(report.chunkSize == page && seen.chunks == (size + page - 1) / page, "\(report)")
          }
        }
      }
    }
  }

  @Test func `ranges give their bytes and no others`() throws {
    let folder = try TemporaryDirectory()
    let path = folder.appending("f")
    let size: Int64 = 20 << 20 | 77
    _ = try PatternFile(path, size: size)
    var random = Random(seed: 5)
    var ranges: [(Int64, Int64?)] = [
      (0, 0), (0, 1), (size, nil), (size, 0), (size - 1, nil), (4095, 2), (4096, 4096), (0, nil),
    ]
    for _ in 0..<12 {
      let lower = Int64(random.below(Int(size)))
      ranges.append((lower, Int64(random.below(Int(size - lower) + 1))))
    }
    withEvery("range", in: ranges) { offset, length in
      withEvery("method", in: StreamSupport.methods) { method in
        var seen = Seen(from: offset)
        let report = try StreamedFile(path, method: method, offset: offset, length: length).forEachChunk {
          seen.add($0, $1)
          return .continue
        }
        check(seen.firstWrong == nil && seen.bytes == length ?? size - offset && report.bytes == seen.bytes, "\(seen)")
      }
    }
    withEvery(
      "bad range", in: [(-1, nil), (size + 1, nil), (0, size + 1), (5, Int64.max), (5, -1)] as [(Int64, Int64?)]
    ) {
      offset, length in
      do {
        _ = try StreamedFile(path, offset: offset, length: length)
        check(false, "was taken")
      } catch let error as MappingError { check(error.code == .invalidRange, "\(error)") }
    }
    #expect { _ = try StreamedFile(path, chunk: .bytes(0)) } throws: { ($0 as? MappingError)?.code == .invalidRange }
  }

  @Test func `empty, sparse and virtual files, and what is none`() throws {
    let folder = try TemporaryDirectory()
    let empty = try folder.file("empty")
    withEvery("method", in: StreamSupport.methods) { method in
      var chunks = 0
      let report = try StreamedFile(empty, method: method).forEachChunk { _, _ in
        chunks += 1
        return .continue
      }
      check(chunks == 0 && report.bytes == 0 && report.ending == .end, "\(report)")
    }
    let sparse = folder.appending("sparse")
    _ = try PatternFile(sparse, size: 40 << 20, windows: [4096..<8192, 30 << 20..<31 << 20])
    withEvery("method", in: StreamSupport.methods) { method in
      var wrong = 0
      try StreamedFile(sparse, method: method).forEachChunk { chunk, offset in
        chunk.withUnsafeBytes {
          if pgt_pattern_mismatch_or($0.baseAddress, $0.count, UInt64(offset), 0) >= 0 { wrong += 1 }
        }
        return .continue
      }
      check(wrong == 0)
    }
    var text: [UInt8] = []
    let status = try StreamedFile("/proc/self/status")
    #expect(status.count == nil)
    try status.forEachChunk { chunk, _ in
      text += chunk.array
      return .continue
    }
    #expect(String(decoding: text, as: UTF8.self).contains("VmHWM:"))
    #expect { _ = try StreamedFile(folder.path) } throws: { ($0 as? MappingError)?.code == .isDirectory }
    #expect { _ = try StreamedFile(folder.appending("none")) } throws: { ($0 as? MappingError)?.code == .notFound }
    let socket = folder.appending("socket")
    #expect(socket.withPlatformString { pgt_make_socket($0) } >= 0)
    #expect { _ = try StreamedFile(socket) } throws: { ($0 as? MappingError)?.code == .unsupportedFileType }
  }

  @Test func `a pipe is passed on in order, its beginning skipped and its end left if so wanted`() throws {
    let size: Int64 = 3 << 20 | 5
    try withWatchdog("pipe") {
      withEvery("range", in: [(0, nil), (0, 10), (70_000, nil), (70_000, 100_000), (size, nil)] as [(Int64, Int64?)]) {
        offset, length in
        let pipe = try FileDescriptor.pipe()
        var seen = Seen(from: offset)
        var report: StreamReport?
        onThreads(2) { index in
          if index == 0 {
            _ = try? pipe.writeEnd.writeAll(PatternFile.bytes(0..<size))
            try? pipe.writeEnd.close()
            return
          }
          if let file = try? StreamedFile(descriptor: pipe.readEnd, offset: offset, length: length) {
            report = try? file.forEachChunk {
              seen.add($0, $1)
              return .continue
            }
          }
          // To the end, so that no signal comes to the writer.
          var rest = [UInt8](repeating: 0, count: 1 << 16)
          while let got = try? rest.withUnsafeMutableBytes({ try pipe.readEnd.read(into: $0) }), got > 0 {}
          try? pipe.readEnd.close()
        }
        check(seen.firstWrong == nil && seen.bytes == length ?? size - offset && report?.bytes == seen.bytes, "\(seen)")
      }
      // Everything was written, and the writer has gone, before the pass begins; a chunk of any size.
      for isNamed in [false, true] {
        let folder = try TemporaryDirectory()
        let fifo = folder.appending("fifo")
        #expect(fifo.withPlatformString { pgt_make_fifo($0) } == 0)
        let pipe = try isNamed ? nil : FileDescriptor.pipe()
        let file =
          try pipe.map { try StreamedFile(descriptor: $0.readEnd, chunk: .bytes(.max)) }
          ?? StreamedFile(fifo, chunk: .bytes(.max))
        let writer = try pipe?.writeEnd ?? FileDescriptor.open(fifo, .writeOnly)
        _ = try writer.writeAll(PatternFile.bytes(0..<1000))
        try writer.close()
        var seen = Seen()
        try file.forEachChunk {
          seen.add($0, $1)
          return .continue
        }
        #expect(seen.bytes == 1000 && seen.firstWrong == nil)
        try pipe?.readEnd.close()
      }
      // It ends before the first byte that was wanted.
      let pipe = try FileDescriptor.pipe()
      _ = try pipe.writeEnd.writeAll([1, 2, 3])
      try pipe.writeEnd.close()
      let file = try StreamedFile(descriptor: pipe.readEnd, offset: 4)
      #expect { try file.forEachChunk { _, _ in .continue } } throws: { ($0 as? MappingError)?.code == .invalidRange }
      try pipe.readEnd.close()
    }
  }

  @Test func `a descriptor's own position does not move, and the pass does not need it afterwards`() throws {
    let folder = try TemporaryDirectory()
    let path = folder.appending("f")
    _ = try PatternFile(path, size: 100_000)
    let descriptor = try FileDescriptor.open(path, .readOnly)
    _ = try descriptor.seek(offset: 77, from: .start)
    let file = try StreamedFile(descriptor: descriptor, path: path)
    #expect(try descriptor.seek(offset: 0, from: .current) == 77)
    try descriptor.close()
    #expect(unlink(path.string) == 0)
    var seen = Seen()
    try file.forEachChunk {
      seen.add($0, $1)
      return .continue
    }
    #expect(seen.bytes == 100_000 && seen.firstWrong == nil)
  }

  @Test func `a pass by hand, and the checksum, see the same bytes`() throws {
    let folder = try TemporaryDirectory()
    let path = try folder.file("f", Array("123456789".utf8))
    let file = try StreamedFile(path)
    let (sum, report) = try file.crc32c()
    // The check value of RFC 3720.
    #expect(sum == 0xE306_9283 && report.bytes == 9)
    var pass = try file.pass()
    var bytes: [UInt8] = []
    while let chunk = try pass.next() {
      #expect(chunk.offset == Int64(bytes.count))
      bytes += chunk.bytes.array
    }
    #expect(bytes == Array("123456789".utf8))
    #expect(try pass.finish().ending == .end)
  }

  @Test func `a pass ends where the caller says, and where it is cancelled`() async throws {
    let folder = try TemporaryDirectory()
    let path = folder.appending("f")
    _ = try PatternFile(path, size: 30 << 20)
    withEvery("method", in: StreamSupport.methods) { method in
      let file = try StreamedFile(path, method: method)
      var chunks = 0
      var report = try file.forEachChunk { _, _ in
        chunks += 1
        return chunks == 3 ? .stop : .continue
      }
      check(chunks == 3 && report.ending == .stopped && report.bytes == 3 * Int64(report.chunkSize), "\(report)")
      var asked = 0
      report = try file.forEachChunk(
        isCancelled: {
          asked += 1
          return asked > 2
        }, { _, _ in .continue })
      check(report.ending == .cancelled && report.bytes == 2 * Int64(report.chunkSize), "\(report)")
      struct Own: Error {}
      do {
        try file.forEachChunk { _, _ in throw Own() }
        check(false, "did not throw")
      } catch { check(error is Own, "\(error)") }
    }
    let report = try await Task {
      withUnsafeCurrentTask { $0?.cancel() }
      return try StreamedFile(path).forEachChunk { _, _ in .continue }
    }.value
    #expect(report.ending == .cancelled && report.bytes == 0)
  }

  @Test func `a file that is cut while it streams ends with its place and no signal, by every method`() throws {
    let folder = try TemporaryDirectory()
    let size: Int64 = 24 << 20
    withEvery("method", in: StreamSupport.methods) { method in
      withEvery("cut at", in: [0, 5 << 20, (5 << 20) + 100, (1 << 20) - 4096, (20 << 20) + 1] as [Int64]) { cut in
        let path = folder.appending("f")
        let pattern = try PatternFile(path, size: size)
        let file = try StreamedFile(path, method: method)
        var sum: UInt64 = 0
        var total: Int64 = 0
        do {
          try file.forEachChunk { chunk, offset in
            if offset == 0 { try pattern.resize(cut) }
            // Touches what may be gone.
            for at in stride(from: 0, to: chunk.byteCount, by: 1024) {
              sum &+= UInt64(chunk.unsafeLoad(fromByteOffset: at, as: UInt8.self))
            }
            total += Int64(chunk.byteCount)
            return .continue
          }
          check(false, "no error; \(total) bytes, sum \(sum)")
        } catch let error as MappingError {
          check(error.code == .truncated && error.path == path, "\(error)")
          // Where it was cut, or where the chunk begins that could not be read any more.
          check(error.offset ?? -1 >= min(cut, size), "\(error)")
          check(method == .map || total >= min(cut, 1 << 20), "\(total)")
        }
      }
    }
  }

  @Test func `made-up bytes of a mapped chunk are told, whatever the caller makes of them, also in the last one`()
    throws
  {
    let folder = try TemporaryDirectory()
    let size: Int64 = 3 << 20 | 2000
    struct Own: Error {}
    // Inside the last page, which raises no fault, and before it.
    withEvery("cut at", in: [size - 100, 3 << 20, (3 << 20) - 4097] as [Int64]) { cut in
      withEvery("end", in: ["continue", "stop", "error", "by hand"]) { (end: String) in
        let path = folder.appending("f")
        let pattern = try PatternFile(path, size: size)
        let file = try StreamedFile(path, method: .map, chunk: .bytes(4 << 20))
        var sum: UInt64 = 0
        func touch(_ chunk: RawSpan) throws {
          try pattern.resize(cut)
          for at in 0..<chunk.byteCount { sum &+= UInt64(chunk.unsafeLoad(fromByteOffset: at, as: UInt8.self)) }
        }
        do {
          if end == "by hand" {
            var pass = try file.pass()
            if let chunk = try pass.next() { try touch(chunk.bytes) }
            _ = try pass.finish()
          } else {
            try file.forEachChunk { chunk, _ in
              try touch(chunk)
              if end == "error" { throw Own() }
              return end == "stop" ? .stop : .continue
            }
          }
          check(false, "no error, sum \(sum)")
        } catch let error as MappingError { check(error.code == .truncated, "\(error)") }
      }
    }
  }

  @Test func `a file that grows is read up to the size that it had`() throws {
    let folder = try TemporaryDirectory()
    withEvery("method", in: StreamSupport.methods) { method in
      let path = folder.appending("f")
      let pattern = try PatternFile(path, size: 10_000_001)
      var seen = Seen()
      try StreamedFile(path, method: method).forEachChunk {
        if $1 == 0 { try pattern.fill(size: 12 << 20) }
        seen.add($0, $1)
        return .continue
      }
      check(seen.bytes == 10_000_001 && seen.firstWrong == nil, "\(seen)")
    }
  }
}

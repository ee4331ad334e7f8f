// SPDX-License-Identifier: Apache-2.0

import MemoryMapping
import PageCache
import SystemPackage
import Testing
import _TestSupport

/// Lines and records over the borders of chunks, against naive splitters.
@Suite(.serialized) struct StreamedItemsTests {
  /// Bytes with many line feeds, carriage returns and now and then a line longer than a chunk.
  static func text(seed: UInt64, size: Int) -> [UInt8] {
    var random = Random(seed: seed)
    var bytes: [UInt8] = []
    while bytes.count < size {
      switch random.below(12) {
      case 0: bytes += [0x0A]
      case 1: bytes += [0x0D, 0x0A]
      case 2: bytes += [0x0D]
      case 3: bytes += [UInt8](repeating: 0x78, count: random.below(3) == 0 ? 9000 : random.below(900))
      default: bytes += (0..<random.below(60)).map { _ in UInt8(random.below(256)) }
      }
    }
    return Array(bytes.prefix(size))
  }

  static func lines(_ bytes: [UInt8], dropped: Bool) -> [[UInt8]] {
    var lines: [[UInt8]] = []
    var line: [UInt8] = []
    for byte in bytes {
      line.append(byte)
      guard byte == 0x0A else { continue }
      if dropped {
        line.removeLast()
        if line.last == 0x0D { line.removeLast() }
      }
      lines.append(line)
      line = []
    }
    if !line.isEmpty { lines.append(line) }
    return lines
  }

  @Test func `lines are those of a naive splitter, whatever the chunk and the method`() throws {
    let folder = try TemporaryDirectory()
    withEvery("seed", in: 1...6) { seed in
      let bytes = Self.text(seed: UInt64(seed), size: [0, 1, 4096, 8192, 40_001, 150_000][seed - 1])
      let path = try folder.file("f", bytes)
      withEvery("terminators", in: [LineTerminators.dropped, .kept]) { terminators in
        let expected = Self.lines(bytes, dropped: terminators == .dropped)
        withEvery("method", in: StreamSupport.methods) { method in
          withEvery("chunk", in: [1, 8192, 1 << 20]) { chunk in
            var found: [[UInt8]] = []
            var numbers: [Int] = []
            let file = try StreamedFile(path, method: method, chunk: .bytes(chunk))
            let report = try file.forEachLine(terminators: terminators) { line, number in
              found.append(line.array)
              numbers.append(number)
              return .continue
            }
            check(found == expected, "\(found.count) lines of \(expected.count)")
            check(numbers == Array(1..<(expected.count + 1)) && report.items == expected.count)
            check(report.bytes == bytes.count && report.ending == .end)
          }
        }
      }
    }
  }

  @Test func `a line at a border, the last one without an end, and CR LF in two chunks`() throws {
    let folder = try TemporaryDirectory()
    let page = SystemPage.size
    withEvery("first line", in: [page - 2, page - 1, page, page + 1, 2 * page]) { length in
      withEvery("end", in: ["\n", "\r\n", "\n\n", ""]) { end in
        let bytes = [UInt8](repeating: 0x61, count: length) + Array((end + "z").utf8)
        let path = try folder.file("f", bytes)
        var found: [[UInt8]] = []
        try StreamedFile(path, chunk: .bytes(page)).forEachLine { line, _ in
          found.append(line.array)
          return .continue
        }
        check(found == Self.lines(bytes, dropped: true), "\(found.map(\.count))")
      }
    }
  }

  @Test func `a line that is too long is an error with its place, also where it fits a chunk`() throws {
    let folder = try TemporaryDirectory()
    let page = SystemPage.size
    let bytes = Array("ab\n".utf8) + [UInt8](repeating: 0x78, count: 2 * page) + Array("\nlast\n".utf8)
    let path = try folder.file("f", bytes)
    withEvery("chunk", in: [page, 1 << 20]) { chunk in
      var lines = 0
      do {
        try StreamedFile(path, chunk: .bytes(chunk)).forEachLine(longest: 2 * page) { _, _ in
          lines += 1
          return .continue
        }
        check(false, "no error")
      } catch let error as MappingError {
        check(error.code == .limitExceeded && error.offset == 3 && lines == 1, "\(error) \(lines)")
      }
      let report = try StreamedFile(path, chunk: .bytes(chunk)).forEachLine(longest: 2 * page + 1) { _, _ in .continue }
      check(report.items == 3)
    }
  }

  @Test func `records are those of a naive splitter, and the rest is told`() throws {
    let folder = try TemporaryDirectory()
    let bytes = Self.text(seed: 9, size: 50_003)
    let path = try folder.file("f", bytes)
    withEvery("size", in: [1, 7, 128, 4096, 4099, 50_003, 60_000]) { size in
      withEvery("method", in: StreamSupport.methods) { method in
        withEvery("chunk", in: [1, 12_288, 1 << 20]) { chunk in
          guard size > 1 || chunk > 1 else { return }
          var found: [UInt8] = []
          var next = 0
          let report = try StreamedFile(path, method: method, chunk: .bytes(chunk)).forEachRecord(bytes: size) {
            record, number in
            check(record.byteCount == size && number == next)
            next += 1
            found += record.array
            return .continue
          }
          let whole = bytes.count / size * size
          check(
            found == Array(bytes[..<whole]) && report.remainder == bytes.count - whole && report.items == whole / size)
        }
      }
    }
    for size in [0, -1, Int.min] {
      #expect { try StreamedFile(path).forEachRecord(bytes: size) { _, _ in .continue } } throws: {
        ($0 as? MappingError)?.code == .invalidRange
      }
    }
  }

  @Test func `stopping and cancelling give no more items`() throws {
    let folder = try TemporaryDirectory()
    let path = try folder.file("f", Array(String(repeating: "line\n", count: 10_000).utf8))
    let file = try StreamedFile(path, chunk: .bytes(4096))
    var report = try file.forEachLine { _, number in number == 1000 ? .stop : .continue }
    #expect(report.items == 1000 && report.ending == .stopped)
    report = try file.forEachRecord(bytes: 5) { _, number in number == 1999 ? .stop : .continue }
    #expect(report.items == 2000 && report.ending == .stopped)
    var asked = 0
    report = try file.forEachLine(
      isCancelled: {
        asked += 1
        return asked > 1
      }, { _, _ in .continue })
    // The line that the first chunk ends in is not given: it is not whole.
    #expect(report.ending == .cancelled && report.items == 819)
  }
}

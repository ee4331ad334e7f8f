// SPDX-License-Identifier: Apache-2.0

import MemoryMapping
import SystemPackage
import Testing

@Suite struct ViewsMappedFileTests {
  /// `pages` pages of lines of 64 bytes.
  static func text(pages: Int) -> [UInt8] {
    let line = [UInt8](repeating: UInt8(ascii: "x"), count: 63) + [10]
    return (0..<(pages * SystemPage.size / 64)).flatMap { _ in line }
  }

  @Test func `views of a healthy file see its bytes`() throws {
    let bytes = Self.text(pages: 3) + Array("tail".utf8)
    try withViewFile(bytes) { path, _ in
      let map = try MappedFile(path)
      var lines = map.lines()
      var count = 0
      var last = ""
      while let line = try lines.next() {
        count += 1
        last = String(decodingUTF8: line)
      }
      #expect(count == 3 * SystemPage.size / 64 + 1)
      #expect(last == "tail")
      #expect(try map.count(of: 10) == count - 1)
      #expect(try map.find("tail") == bytes.count - 4)
      #expect(try map.find([10], from: 64) == 127)
      #expect(try map.find(UInt8(ascii: "t")) == bytes.count - 4)
      #expect(try map.find("nowhere") == nil)
      var matches = map.matches(of: "x\n")
      var matchCount = 0
      while try matches.next() != nil { matchCount += 1 }
      #expect(matchCount == count - 1)
      var chunks = map.chunks(of: 1000)
      var total = 0
      while let chunk = try chunks.next() { total += chunk.byteCount }
      #expect(total == bytes.count)
      var records = try map.records(of: UInt64.self)
      #expect(records.count == bytes.count / 8)
      #expect(String(decodingUTF8: records.remainder) == "tail")
      #expect(try records.next() == 0x7878_7878_7878_7878)
      var raw = try map.records(stride: 64)
      let firstRecord = try raw.next()
      let firstSize = if let firstRecord { firstRecord.byteCount } else { 0 }
      #expect(firstSize == 64)
      #expect(
        try map.load(at: bytes.count - 4, as: UInt32.self) == UInt32(littleEndian: 0x6C69_6174))
      #expect(try map.loadBigEndian(at: bytes.count - 4, as: UInt32.self) == 0x7461_696C)
      #expect(try map.loadLittleEndian(at: bytes.count - 4, as: UInt16.self) == 0x6174)
    }
  }

  @Test func `views of an empty file are empty`() throws {
    try withViewFile([]) { path, _ in
      let map = try MappedFile(path)
      var lines = map.lines()
      try expectEnd(lines.next())
      var chunks = map.chunks(of: 10)
      try expectEnd(chunks.next())
      var records = try map.records(of: UInt16.self)
      #expect(try records.next() == nil)
      #expect(try map.count(of: 10) == 0)
      #expect(try map.find("a") == nil)
      #expect(throws: MappingError.self) { try map.load(at: 0, as: UInt8.self) }
    }
  }

  @Test(arguments: [-1, 1, 4, Int.max, Int.min])
  func `a load outside the view is an error`(offset: Int) throws {
    try withViewFile([1, 2, 3, 4]) { path, _ in
      let map = try MappedFile(path)
      let error = #expect(throws: MappingError.self) { try map.load(at: offset, as: UInt32.self) }
      #expect(error?.code == .invalidRange)
    }
  }

  /// Steps a cursor until it ends, counting; the error if one was thrown; and what a step after
  /// that gives.
  enum View: String, CaseIterable { case lines, chunks, records, rawRecords, matches }

  static func run(_ view: View, _ map: borrowing MappedFile) throws -> (
    steps: Int, error: MappingError?, over: Bool
  ) {
    var steps = 0
    switch view {
    case .lines:
      var cursor = map.lines()
      do throws(MappingError) { while try cursor.next() != nil { steps += 1 } } catch {
        return (steps, error, try cursor.next() == nil)
      }
    case .chunks:
      var cursor = map.chunks(of: 64)
      do throws(MappingError) {
        while let chunk = try cursor.next() { steps += chunk.count(of: 10) }
      } catch { return (steps, error, try cursor.next() == nil) }
    case .records:
      var cursor = try map.records(of: [64 of UInt8].self)
      do throws(MappingError) {
        // A value that nobody uses is not loaded in release, and then no page is lost.
        while let record = try cursor.next() { steps += record[0] == record[63] ? 0 : 1 }
      } catch { return (steps, error, try cursor.next() == nil) }
    case .rawRecords:
      var cursor = try map.records(stride: 64)
      do throws(MappingError) {
        while let record = try cursor.next() { steps += record.count(of: 10) }
      } catch { return (steps, error, try cursor.next() == nil) }
    case .matches:
      var cursor = map.matches(of: "\n")
      do throws(MappingError) { while try cursor.next() != nil { steps += 1 } } catch {
        return (steps, error, try cursor.next() == nil)
      }
    }
    return (steps, nil, true)
  }

  @Test(arguments: View.allCases, [0, 1, 2])
  func `a page lost under a cursor stops it with an error, once`(view: View, keptPages: Int) throws {
    let page = SystemPage.size
    try withViewFile(Self.text(pages: 4)) { path, file in
      let map = try MappedFile(path)
      let healthy = try Self.run(view, map)
      #expect(healthy.steps == 4 * page / 64)
      #expect(healthy.error == nil)
      try file.resize(to: Int64(keptPages * page))
      let cut = try Self.run(view, map)
      #expect(cut.error?.code == .truncated, "\(view)")
      #expect(cut.error?.path == path)
      #expect(cut.error?.offset == Int64(keptPages * page))
      // Lines and matches look ahead in the bytes that they were given; nothing of the lost pages
      // is handed out by them.
      #expect(cut.steps <= keptPages * page / 64 + 1, "\(view): \(cut.steps)")
      #expect(cut.over, "\(view): a cursor that threw is over")
      // The mapping stays faulted: a new cursor throws at its first step.
      let again = try Self.run(view, map)
      #expect(again.steps == 0)
      #expect(again.error?.code == .truncated)
    }
  }

  @Test(arguments: View.allCases)
  func `a cut inside the last page is found at the end`(view: View) throws {
    let page = SystemPage.size
    try withViewFile(Self.text(pages: 2)) { path, file in
      let map = try MappedFile(path)
      try file.resize(to: Int64(2 * page - 100))
      let cut = try Self.run(view, map)
      #expect(cut.error?.code == .truncated, "\(view)")
      #expect(cut.error?.offset == Int64(2 * page - 100))
      #expect(cut.over)
      #expect(throws: MappingError.self) { try map.count(of: 10) }
    }
  }

  @Test func `a page lost while the last line is used is found at the end`() throws {
    let page = SystemPage.size
    // One line over four pages, so that the cursor reads it all before it hands it out.
    try withViewFile([UInt8](repeating: UInt8(ascii: "x"), count: 4 * page)) { path, file in
      let map = try MappedFile(path)
      var lines = map.lines()
      let line = try lines.next()
      try file.resize(to: 0)
      let sum = if let line { line.count(of: UInt8(ascii: "x")) } else { -1 }
      #expect(sum == 0, "the bytes were still there: nothing was lost, so nothing is tested")
      var caught: MappingError? = nil
      do throws(MappingError) { try expectEnd(lines.next()) } catch { caught = error }
      #expect(caught?.code == .truncated)
      try expectEnd(lines.next())
    }
  }

  @Test func `a checked load of a lost page is an error, of a kept one the value`() throws {
    let page = SystemPage.size
    try withViewFile(Self.text(pages: 3)) { path, file in
      let map = try MappedFile(path)
      try file.resize(to: Int64(page))
      let error = #expect(throws: MappingError.self) { try map.load(at: 2 * page, as: UInt64.self) }
      #expect(error?.code == .truncated)
      #expect(try map.load(at: 8, as: UInt64.self) == 0x7878_7878_7878_7878)
    }
  }
}

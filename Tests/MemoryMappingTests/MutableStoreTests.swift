// SPDX-License-Identifier: Apache-2.0

import CPlatform
import MemoryMapping
import SystemPackage
import Testing
import _CTestSupport
import _TestSupport

#if canImport(Glibc)
  import Glibc
#elseif canImport(Darwin)
  import Darwin
#endif

/// Stores, and who sees them.
@Suite struct MutableStoreTests {
  let page = SystemPage.size

  @Test func `a store is seen at once by another mapping, by read and by another process`() throws {
    let folder = try TemporaryDirectory()
    let path = try folder.file("file", [UInt8](repeating: 0, count: 2 * page))
    var map = try MutableMappedFile(path)
    let other = try MappedFile(path)
    try map.store(UInt64(0x0807_0605_0403_0201), at: page - 3)
    let bytes: [UInt8] = [1, 2, 3, 4, 5, 6, 7, 8]
    #expect(try Array(other.content()[page - 3..<page + 5]) == bytes)
    #expect(try PatternFile.read(path, Int64(page - 3)..<Int64(page + 5)) == bytes)
    let child = try Child.run(["od", "-An", "-tu1", "-j\(page - 3)", "-N8", path.string])
    #expect(child.output.split(whereSeparator: \.isWhitespace) == ["1", "2", "3", "4", "5", "6", "7", "8"])
    // And theirs by us.
    #expect(try Child.succeeds("sh", "-c", "printf XY | dd of=\(path.string) bs=1 seek=5 conv=notrunc 2>/dev/null"))
    #expect(try map.load(at: 5, as: UInt16.self) == 0x5958)
    // It lives in the file, not in the mapping.
    try map.close()
    #expect(try PatternFile.read(path, Int64(page - 3)..<Int64(page + 5)) == bytes)
  }

  @Test func `a private store reaches nobody, and cannot be flushed, resized or reserved`() throws {
    let folder = try TemporaryDirectory()
    let content = PatternFile.bytes(0..<Int64(2 * page))
    let path = try folder.file("file", content)
    var options = MappedFile.Options()
    options.sharing = .private
    do {
      var map = try MutableMappedFile(path, options: options)
      try map.copy([UInt8](repeating: 0xEE, count: page), to: page / 2)
      try map.withMutableBytes { (span: inout MutableRawSpan) -> Void in
        span.storeBytes(of: 0xDD, toByteOffset: 0, as: UInt8.self)
      }
      #expect(try map.load(at: page, as: UInt8.self) == 0xEE)
      #expect(try map.load(at: 0, as: UInt8.self) == 0xDD)
      #expect(try fileContent(path) == content)
      for level in FlushLevel.allCases { #expect(failure { try map.flush(level) }?.code == .notSupported) }
      #expect(failure { try map.startWriteback() }?.code == .notSupported)
      #expect(failure { try map.resize(to: 3) }?.code == .notSupported)
      #expect(failure { try map.reserve() }?.code == .notSupported)
      #expect(failure { try map.punchHole(0..<1) }?.code == .notSupported)
      #expect(map.isPoisoned == false)
    }
    #expect(try fileContent(path) == content)
  }

  @Test func `a value is stored at each offset that has room, and nowhere else`() throws {
    let folder = try TemporaryDirectory()
    let size = 2 * page + 3
    withEvery("offset in the file", in: [0, 1, page - 1]) { start in
      let path = try folder.file("file\(start)", [UInt8](repeating: 0, count: start + size))
      var map = try MutableMappedFile(path, offset: Int64(start))
      var expected = [UInt8](repeating: 0, count: size)
      let offsets = Set(0..<40).union(page - start - 20..<page - start + 20).union(size - 20..<size)
      withEvery("offset", in: offsets.filter { $0 >= 0 }.sorted()) { offset in
        let value = UInt64(offset) &* 0x9E37_79B9_7F4A_7C15 | 1
        if offset + 8 <= size {
          try map.store(value, at: offset)
          withUnsafeBytes(of: value) { for (at, byte) in $0.enumerated() { expected[offset + at] = byte } }
        } else {
          check(failure { try map.store(value, at: offset) }?.code == .invalidRange, "stored behind the end")
        }
        if offset + 1 <= size { try check(map.load(at: offset, as: UInt8.self) == expected[offset]) }
      }
      try check(map.content() == expected, "other bytes")
      try check(Array(fileContent(path)[start...]) == expected, "other bytes in the file")
    }
  }

  @Test func `whatever the numbers, a store outside is an error and stores nothing`() throws {
    let folder = try TemporaryDirectory()
    let path = try folder.file("file", [UInt8](repeating: 0, count: 100))
    var map = try MutableMappedFile(path, offset: 10, length: 50)
    withEvery("offset", in: [.min, .min + 1, -8, -1, 43, 49, 50, 51, .max - 8, .max - 7, .max]) { (offset: Int) in
      check(failure { try map.store(UInt64.max, at: offset) }?.code == .invalidRange, "a value")
      check(failure { try map.copy([UInt8](repeating: 1, count: 51), to: offset) }?.code == .invalidRange, "bytes")
      check(failure { try map.copy([], to: offset) }?.code == ((0...50).contains(offset) ? nil : .invalidRange), "none")
    }
    withEvery("bounds", in: [-1..<0, -1..<1, 0..<51, 51..<51, .min..<0, 0..<Int.max]) { bounds in
      check(
        failure { try map.withMutableBytes(bounds) { (_: inout MutableRawSpan) -> Void in } }?.code == .invalidRange)
      check(failure { try map.flush(.data, bounds) }?.code == .invalidRange, "flush")
      check(failure { try map.startWriteback(bounds) }?.code == .invalidRange, "startWriteback")
      check(failure { try map.reserve(bounds) }?.code == .invalidRange, "reserve")
      check(failure { try map.prefault(bounds) }?.code == .invalidRange, "prefault")
      check(failure { _ = try map.dirtyBytes(bounds) }?.code == .invalidRange, "dirtyBytes")
      check(failure { try map.punchHole(bounds) }?.code == .invalidRange, "punchHole")
    }
    for count in [-1, Int.min, Int.max] { #expect(failure { try map.resize(to: count) } != nil) }
    #expect(try fileContent(path).allSatisfy { $0 == 0 })
    #expect(map.fault == nil)
  }

  @Test func `bytes of each length are copied to each place around a page end`() throws {
    let folder = try TemporaryDirectory()
    let path = try folder.file("file", [UInt8](repeating: 0, count: 4 * page))
    var map = try MutableMappedFile(path)
    withEvery("length", in: [0, 1, 7, 8, 15, 16, 31, 32, 33, 63, 64, 100, 2047, 2048, 2049, page, page + 1]) { length in
      let bytes = PatternFile.bytes(Int64(length)..<Int64(2 * length))
      withEvery("offset", in: [page - length, page - 1, page, page + 1, 0, 3 * page - length].filter { $0 >= 0 }) {
        offset in
        try map.copy([UInt8](repeating: 0, count: 4 * page), to: 0)
        try map.copy(bytes, to: offset)
        var expected = [UInt8](repeating: 0, count: 4 * page)
        expected.replaceSubrange(offset..<offset + length, with: bytes)
        try check(map.content() == expected, "other bytes")
      }
    }
  }

  @Test func `a scope stores in its bounds, gives the result, and what it stored before it threw stays`() throws {
    struct Stop: Error {}
    let folder = try TemporaryDirectory()
    let path = try folder.file("file", [UInt8](repeating: 0, count: page + 100))
    var map = try MutableMappedFile(path, offset: 50)
    let count = try map.withMutableBytes(10..<20) { (span: inout MutableRawSpan) -> Int in
      span.withUnsafeMutableBytes { for at in 0..<$0.count { $0[at] = 5 } }
      return span.byteCount
    }
    #expect(count == 10)
    #expect(throws: Stop.self) {
      try map.withMutableBytes(20..<30) { (span: inout MutableRawSpan) throws -> Void in
        span.storeBytes(of: 6, toByteOffset: 0, as: UInt8.self)
        throw Stop()
      }
    }
    var expected = [UInt8](repeating: 0, count: page + 100)
    for at in 60..<70 { expected[at] = 5 }
    expected[70] = 6
    #expect(try fileContent(path) == expected)
    #expect(try map.withMutableBytes(7..<7) { (span: inout MutableRawSpan) -> Int in span.byteCount } == 0)
    // A stamp would be moved by the stores themselves.
    #expect(
      failure { try map.withMutableBytes(check: .stamp) { (_: inout MutableRawSpan) -> Void in } }?.code
        == .notSupported)
    // The bare span.
    do {
      var span = map.mutableBytes
      #expect(span.byteCount == page + 50)
      span.storeBytes(of: 9, toByteOffset: page + 49, as: UInt8.self)
    }
    try map.checkFault()
    #expect(try fileContent(path).last == 9)
    let read = try map.withReader { (reader: borrowing MappedFile) throws(MappingError) -> UInt8 in
      try reader.load(at: 10)
    }
    #expect(read == 5)
  }

  @Test func `a checked copy into a lost page stops there, in each of its forms`() throws {
    try FaultGuard.install()
    let cut = try CutMapping(pages: 4, kept: 2, writable: true)
    let source = [UInt8](repeating: 0xEE, count: 5000)
    withEvery("form", in: [("checked", pgw_copy_checked), ("portable", pgw_copy_portable)]) { _, copy in
      withEvery("length", in: [1, 8, 33, 100, 3000, 5000]) { length in
        withEvery("before the lost page", in: [0, 1, 16, 31, length - 1, length]) { before in
          let missing = copy(cut.base + 2 * page - before, source, length)
          // Where it stops short of the page, the rest is the next step's.
          let lost = max(0, length - before)
          check(
            missing >= lost && missing <= length && (missing == 0) == (lost == 0),
            "\(missing) of \(length), \(before) before")
        }
      }
    }
  }

  @Test func `a cut file is an error for each way to store, and the scope's error wins over the body's`() throws {
    struct Stop: Error {}
    let folder = try TemporaryDirectory()
    let file = try PatternFile(folder.appending("file"), size: Int64(4 * page))
    var map = try MutableMappedFile(file.path)
    try file.resize(Int64(page + 10))
    // Signal-free ways leave the mapping healthy, and say where the first byte was lost.
    var error = failure { try map.store(UInt64(1), at: 3 * page) }
    #expect(error?.code == .truncated && error?.offset == Int64(3 * page) && error?.path == file.path)
    error = failure { try map.copy([UInt8](repeating: 7, count: page), to: 2 * page - 5) }
    #expect(error?.code == .truncated && error?.offset == Int64(2 * page) && error?.length == Int64(page - 5))
    error = failure { try map.prefault() }
    #expect(error?.code == .truncated && error?.offset == Int64(2 * page))
    #expect(map.fault == nil)
    // A flush would report success of the kernel; the size says otherwise.
    #expect(failure { try map.flush(.data) }?.code == .truncated)
    #expect(map.isPoisoned == false)
    try map.flush(.data, 0..<page + 10)
    // Inside the last page the kernel swallows stores without a sign.
    #expect(
      failure { try map.withMutableBytes(check: .size) { (_: inout MutableRawSpan) -> Void in } }?.code == .truncated)
    let lost = failure {
      try map.withMutableBytes { (span: inout MutableRawSpan) throws -> Void in
        span.withUnsafeMutableBytes { pgt_store($0.baseAddress! + 2 * page + 1, 1) }
        throw Stop()
      }
    }
    #expect(lost?.code == .truncated && lost?.operation == .write)
    #expect(map.lostRanges() == [2 * page..<4 * page])
    for level in FlushLevel.allCases { #expect(failure { try map.flush(level) }?.code == .truncated) }
    #expect(failure { try map.resize(to: 5 * page) }?.code == .truncated)
    #expect(failure { try map.reserve() }?.code == .truncated)
    #expect(failure { try map.recover() }?.code == .truncated)
    try file.resize(Int64(4 * page))
    try map.recover()
    #expect(map.lostRanges() == [])
    try map.store(UInt8(3), at: 2 * page + 1)
    try map.flush(.data)
    #expect(try PatternFile.read(file.path, Int64(2 * page)..<Int64(2 * page + 2)) == [0, 3])
  }
}

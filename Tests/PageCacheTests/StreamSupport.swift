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

/// What the tests of streaming share.
enum StreamSupport {
  /// A folder on a file system with a device behind it; nil after a loud skip.
  static func deviceFolder(_ what: String) throws -> FilePath? {
    let folder = try TemporaryDirectory()
    let file = try FileDescriptor.open(folder.path, .readOnly)
    defer { try? file.close() }
    let name = try FileFacts(asking: file).fileSystem?.name
    guard Skips.require(name != "tmpfs" && name != "ramfs", what, install: "a TMPDIR on a disk") else { return nil }
    return folder.path.removingLastComponent()
  }

  /// Pages of a file that are in memory; nil where the kernel does not tell.
  static func resident(_ path: FilePath) throws -> Int? { try MappedFile(path).residency().resident }

  /// Brings the file to the device and out of memory.
  static func evict(_ path: FilePath) throws {
    let file = try FileDescriptor.open(path, .readOnly)
    defer { try? file.close() }
    #expect(fsync(file.rawValue) == 0)
    // A page that another processor has not yet put in its list cannot be dropped at once.
    for _ in 0..<100 {
      #expect(pgt_drop_caches(file.rawValue) == 0)
      if try resident(path) ?? 0 == 0 { return }
      pgt_sleep_us(1000)
    }
    Issue.record("\(path) stays in memory")
  }

  /// Reads pages of a file into memory, and nothing around them.
  static func load(_ path: FilePath, _ range: Range<Int>) throws {
    let map = try MappedFile(path)
    try map.advise(.random)
    try map.prefault(range)
  }

  /// What a pass gave, compared with the pattern as it came.
  struct Seen {
    var bytes: Int64 = 0
    var chunks = 0
    var longest = 0
    var next: Int64
    var firstWrong: Int64? = nil

    init(from offset: Int64 = 0) { next = offset }

    mutating func add(_ chunk: RawSpan, _ offset: Int64) {
      let wrong = chunk.withUnsafeBytes { pgt_pattern_mismatch($0.baseAddress, $0.count, UInt64(offset)) }
      if firstWrong == nil, wrong >= 0 || offset != next { firstWrong = offset + max(0, wrong) }
      next = offset + Int64(chunk.byteCount)
      bytes += Int64(chunk.byteCount)
      chunks += 1
      longest = max(longest, chunk.byteCount)
    }
  }

  static let methods: [StreamedFile.Method] = StreamedFile.Method.allCases
}

extension RawSpan {
  var array: [UInt8] { withUnsafeBytes { Array($0) } }
}

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

/// Files whose pages in memory the test itself decides.
enum CacheScene {
  static let page = Int64(SystemPage.size)

  /// False, with a note, where the page cache cannot be asked, or is all there is.
  static func isPossible(in folder: borrowing TemporaryDirectory) throws -> Bool {
    let path = try folder.file("probe", [1, 2, 3])
    let report = try ResidencyScanner().scan(path)
    return Skips.require(
      report.pages.knownFiles == 1 && report.pages.hasDetails, "the page cache", install: "Linux 6.5")
      && Skips.require(report.fileSystem?.name != "tmpfs", "the page cache", install: "a TMPDIR on a disk")
  }

  /// A file on the device with nothing of it in memory.
  static func coldFile(_ folder: borrowing TemporaryDirectory, _ name: String, size: Int) throws -> FilePath {
    let path = try folder.file(name, PatternFile.bytes(0..<Int64(size)))
    try evict(path)
    return path
  }

  static func evict(_ path: FilePath) throws {
    let report = try CacheEvictor().evict(path)
    #expect(report.after.resident == 0, "\(report.stayed)")
  }

  /// Loads single pages and nothing around them.
  static func touch(_ path: FilePath, pages: some Sequence<Int>) throws {
    let file = try FileDescriptor.open(path, .readOnly)
    defer { try? file.close() }
    posix_fadvise(file.rawValue, 0, 0, POSIX_FADV_RANDOM)
    var byte: UInt8 = 0
    for number in pages {
      #expect(pread(file.rawValue, &byte, 1, Int(Self.page) * number) == 1)
    }
  }

  /// Which pages mincore says are resident: asked here by itself, for the whole file at once.
  static func mincore(_ path: FilePath) throws -> [Bool] {
    let file = try FileDescriptor.open(path, .readOnly)
    defer { try? file.close() }
    let size = Int(try file.seek(offset: 0, from: .end))
    guard size > 0 else { return [] }
    let base = try #require(pgt_map_file(file.rawValue, size, 0, false))
    defer { pgt_unmap(base, size) }
    var vector = [UInt8](repeating: 0, count: (size + Int(Self.page) - 1) / Int(Self.page))
    #expect(Glibc.mincore(base, size, &vector) == 0)
    return vector.map { $0 & 1 != 0 }
  }

  /// Runs of pages as ranges of bytes.
  static func ranges(_ pages: [Bool], size: Int64) -> [Range<Int64>] {
    var ranges: [Range<Int64>] = []
    for (index, isResident) in pages.enumerated() where isResident {
      let lower = Int64(index) * page
      let upper = min(lower + page, size)
      if let last = ranges.last, last.upperBound == lower {
        ranges[ranges.count - 1] = last.lowerBound..<upper
      } else {
        ranges.append(lower..<upper)
      }
    }
    return ranges
  }
}

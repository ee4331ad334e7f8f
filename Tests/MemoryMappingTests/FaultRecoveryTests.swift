// SPDX-License-Identifier: Apache-2.0

import MemoryMapping
import SystemPackage
import Testing
import _CTestSupport
import _TestSupport

/// The way back after a loss.
@Suite struct FaultRecoveryTests {
  let page = SystemPage.size

  /// Loses what lies behind the cut.
  private func lose(_ map: borrowing MappedFile) {
    #expect(throws: MappingError.self) {
      try map.withBytes { (span: RawSpan) -> Void in
        _ = span.withUnsafeBytes { pgt_touch($0.baseAddress! + span.byteCount - 1) }
      }
    }
  }

  private func base(_ map: borrowing MappedFile) -> UnsafeRawPointer { map.bytes.withUnsafeBytes { $0.baseAddress! } }

  @Test(arguments: [0, 1, 4095, 4096, 12_345], [MappedFile.Options.Sharing.shared, .private])
  func `after the file has grown again recover gives all its bytes`(
    offset: Int, sharing: MappedFile.Options.Sharing
  ) throws {
    let folder = try TemporaryDirectory()
    let size = Int64(8 * page + 5)
    let file = try PatternFile(folder.appending("file"), size: size)
    var options = MappedFile.Options()
    options.sharing = sharing
    options.fillByte = 0xFF
    var map = try MappedFile(file.path, offset: Int64(offset), options: options)
    for end in [0, Int64(page), size - 6, Int64(4 * page + 1)] {
      try file.resize(end)
      lose(map)
      let before = map.fault
      #expect(before?.kind == .truncated && before?.count == 1)
      // Every call says so until then.
      for level in [ReadingLevel.scopePages, .lines, .search, .unchecked] {
        #expect { _ = try map.read(0..<10, at: level) } throws: { ($0 as? MappingError)?.code == .truncated }
      }
      // Too short: refused, and still faulted.
      for short in Set([end, end + 1, size - 1]) {
        try file.resize(short)
        #expect {
          try map.recover()
        } throws: {
          let error = $0 as? MappingError
          return error?.code == .truncated && error?.operation == .recover && error?.detail == .fileSize(short)
        }
        #expect(map.fault != nil)
      }
      try file.fill(size: size)
      // Grown, but replaced pages do not come back by themselves.
      lose(map)
      let address = base(map)
      try map.recover()
      #expect(map.fault == nil && base(map) == address)
      #expect(try map.read(0..<map.count, at: .scopeStamp) == PatternFile.bytes(Int64(offset)..<size))
      try map.recover()
    }
  }

  @Test func `recover puts the lock, the policies and the place back`() throws {
    let folder = try TemporaryDirectory()
    let file = try PatternFile(folder.appending("file"), size: Int64(8 * page))
    var options = MappedFile.Options()
    options.lock = .now
    options.fork = .omit
    options.coreDump = .exclude
    var map = try MappedFile(file.path, options: options)
    try file.resize(Int64(page))
    lose(map)
    try file.fill(size: Int64(8 * page))
    try map.recover()
    let area = try #require(ProcessView.area(of: base(map)))
    #expect(area.range.count == 8 * page, "one piece again")
    #expect(area.flags.isSuperset(of: ["lo", "dc", "dd"]), "\(area.flags)")
    #expect(area.number("Locked") == 8 * page / 1024)
    #expect(area.name == file.path.string)
  }

  @Test func `without a descriptor there is no way back, and the error says so`() throws {
    let folder = try TemporaryDirectory()
    let file = try PatternFile(folder.appending("file"), size: Int64(4 * page))
    var options = MappedFile.Options()
    options.keepsDescriptor = false
    var map = try MappedFile(file.path, options: options)
    try map.recover()
    try file.resize(0)
    lose(map)
    #expect(map.fault?.kind == .unknown)
    try file.fill(size: Int64(4 * page))
    #expect { try map.recover() } throws: { ($0 as? MappingError)?.code == .notSupported }
    #expect(map.fault != nil)
    var bytes = [UInt8](repeating: 0, count: 8)
    #expect(throws: MappingError.self) { try bytes.withUnsafeMutableBytes { try map.copy(0..<8, into: $0) } }
  }

  @Test func `a file replaced by rename leaves the mapping whole`() throws {
    let folder = try TemporaryDirectory()
    let file = try PatternFile(folder.appending("file"), size: Int64(4 * page))
    let map = try MappedFile(file.path)
    let other = try PatternFile(folder.appending("other"), size: 10)
    #expect(try Child.succeeds("mv", other.path.string, file.path.string))
    #expect(try map.read(0..<4 * page, at: .scopeSize) == PatternFile.bytes(0..<Int64(4 * page)))
    // The link count moved, so the stamp did.
    #expect(map.isCurrent == false)
    #expect(map.fault == nil)
  }
}

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

/// Files whose checksums are right and whose numbers are not, and journals that change under a reader.
@Suite struct HostileStorageTests {
  typealias Checksum = TransactionalFailureTests

  static func set<T: FixedWidthInteger>(_ bytes: inout [UInt8], _ at: Int, _ value: T) {
    withUnsafeBytes(of: value.littleEndian) { bytes.replaceSubrange(at..<at + $0.count, with: $0) }
  }

  @Test func `numbers at their limits with right checksums are refused, and nothing traps`() throws {
    let folder = try TemporaryDirectory()
    let path = folder.appending("data")
    let journalPath = folder.appending("data.pagewise-journal")
    let (data, good) = try Checksum.unapplied(in: folder)
    let seed = Checksum.checksum(Array(good[16..<32]))
    // The slot: epoch, generation, size.
    for field in 0..<3 {
      for value in [UInt64.max, .max >> 1, 1 << 62, 1 << 60, (1 << 60) - 1] as [UInt64] {
        var bad = good
        Self.set(&bad, 1024 + 8 * field, value)
        Self.set(&bad, 1048, Checksum.checksum(Array(bad[1024..<1048]), seed))
        try Checksum.overwrite(path, data)
        try Checksum.overwrite(journalPath, bad)
        _ = try? TransactionalFile.verify(path)
        if var file = try? TransactionalFile(path) {
          _ = try? file.withTransaction { $0.storeBytes(of: 1, as: UInt8.self) }
          try? file.close()
        }
      }
    }
    // The first record: epoch, generation, durable, size, length, runs.
    for (at, width) in [(8, 8), (16, 8), (24, 8), (32, 8), (40, 8), (48, 4)] {
      for value in [UInt64.max, .max >> 1, 1 << 62, 1 << 40, 1 << 27, 512, 1, 0] as [UInt64] {
        var bad = good
        if width == 8 {
          Self.set(&bad, 4096 + at, value)
        } else {
          Self.set(&bad, 4096 + at, UInt32(truncatingIfNeeded: value))
        }
        Self.set(&bad, 4096 + 56, Checksum.checksum(Array(bad[4096..<4096 + 56]), seed))
        try Checksum.overwrite(path, data)
        try Checksum.overwrite(journalPath, bad)
        _ = try? TransactionalFile.verify(path)
        if let file = try? TransactionalFile(path), file.count < 1 << 24 {
          let content = try TransactionalFileTests.bytes(file)
          #expect(Checksum.states.contains { $0 == content })
        }
      }
    }
  }

  @Test func `a record that claims more runs than there can be asks for no memory`() async {
    await #expect(processExitsWith: .success) {
      let folder = try TemporaryDirectory()
      let path = folder.appending("data")
      let (data, good) = try Checksum.unapplied(in: folder)
      var bad = good
      HostileStorageTests.set(&bad, 4096 + 40, UInt64(3 << 30))
      HostileStorageTests.set(&bad, 4096 + 48, UInt32(1 << 27))
      HostileStorageTests.set(
        &bad, 4096 + 56, Checksum.checksum(Array(bad[4096..<4096 + 56]), Checksum.checksum(Array(good[16..<32]))))
      try Checksum.overwrite(path, data)
      try Checksum.overwrite(folder.appending("data.pagewise-journal"), bad)
      prove(truncate(folder.appending("data.pagewise-journal").string, 4 << 30) == 0)
      prove(pgt_limit_address_space(3 << 30) == 0)
      _ = try? TransactionalFile.verify(path)
      _ = try? TransactionalFile(path)
    }
  }

  @Test func `a growable file whose sequence is at its limit is refused`() throws {
    let folder = try TemporaryDirectory()
    let path = folder.appending("log")
    do {
      var file = try GrowableMappedFile(path, options: GrowableMappedFileTests.small)
      try file.append([1 as UInt8, 2, 3].span.bytes)
      try file.close()
    }
    let good = try TransactionalFileTests.content(path)
    let identifier = Array(good[16..<24])
    for slot in [512, 1024, 1536, 2048] {
      for value in [UInt64.max, 1 << 62, (1 << 62) - 2] as [UInt64] {
        var bad = good
        Self.set(&bad, slot, value)
        Self.set(&bad, slot + 28, Checksum.checksum(Array(bad[slot..<slot + 28]), Checksum.checksum(identifier)))
        try folder.file("log", bad)
        _ = try? GrowableMappedFile.verify(path)
        if var file = try? GrowableMappedFile(path, options: GrowableMappedFileTests.small) {
          _ = try? file.append([4 as UInt8].span.bytes)
          try? file.flush()
        }
      }
    }
    var options = GrowableMappedFileTests.small
    options.chunk = Int.max...Int.max
    try folder.file("log", good)
    var file = try GrowableMappedFile(path, options: options)
    #expect(throws: MappingError.self) { try file.reserve(Int.max) }
  }

  @Test func `a byte that gets its old value back has it after the next open`() throws {
    for application in [TransactionalFile.Options.Application.atCommit, .atCheckpoint] {
      let folder = try TemporaryDirectory()
      let path = folder.appending("data")
      var options = TransactionalFile.Options()
      options.application = application
      var expected = [UInt8](repeating: 0, count: 9000)
      var random = Random(seed: 6)
      for _ in 0..<8 {
        var file = try TransactionalFile(path, creating: .ifMissing(size: 9000), options: options)
        #expect(try TransactionalFileTests.bytes(file) == expected)
        for _ in 0..<12 {
          try file.begin()
          if random.below(5) == 0 {
            try file.resize(to: file.count + 3000)
            expected += [UInt8](repeating: 0, count: 3000)
          }
          if random.below(6) == 0 { try file.checkpoint() }
          for _ in 0..<3 {
            let at = random.below(4) == 0 ? random.below(file.count) : random.below(8) * 1100
            let value = UInt8(random.below(2))
            try file.store(value, at: at)
            expected[at] = value
          }
          try file.commit(random.below(2) == 0 ? .durable : .withNext)
        }
        // Gone without a close.
      }
    }
  }

  @Test func `a reader of growable files sees what short-lived writers append`() throws {
    let folder = try TemporaryDirectory()
    let path = folder.appending("log")
    try GrowableMappedFile(path, options: GrowableMappedFileTests.small).close()
    var reader = try GrowableMappedReader(path)
    for round in 1...5 as ClosedRange<UInt8> {
      var file = try GrowableMappedFile(path, options: GrowableMappedFileTests.small)
      try file.append([round].span.bytes)
      if round % 2 == 0 { try file.close() } else { _ = consume file }
      #expect(try reader.refresh() == Int(round))
    }
    #expect(try GrowableMappedFileTests.bytes(reader) == [1, 2, 3, 4, 5])
  }

  @Test func `a reader whose journal was taken away takes the new one, and accepts no mixture`() throws {
    let folder = try TemporaryDirectory()
    let path = folder.appending("data")
    try TransactionalFile(path, creating: .ifMissing(size: 100)).close()
    var reader = try TransactionalReader(path, patience: .seconds(Int64.max))
    #expect(try reader.read { $1 } == 0)
    unlink(folder.appending("data.pagewise-journal").string)
    var file = try TransactionalFile(path)
    var calls = 0
    let seen = try reader.read { bytes, generation in
      calls += 1
      // In the middle of the first reading.
      if calls == 1 { try file.withTransaction { $0.storeBytes(of: 9, as: UInt8.self) } }
      return bytes.unsafeLoad(fromByteOffset: 0, as: UInt8.self)
    }
    #expect(seen == 9 && calls > 1)
    #expect(try reader.generation() == 1)
  }
}

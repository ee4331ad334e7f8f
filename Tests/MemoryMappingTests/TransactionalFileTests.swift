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

@Suite struct TransactionalFileTests {
  static func content(_ path: FilePath) throws -> [UInt8] {
    let file = try FileDescriptor.open(path, .readOnly)
    defer { try? file.close() }
    return try PatternFile.read(path, 0..<file.seek(offset: 0, from: .end))
  }

  static func bytes(_ file: borrowing TransactionalFile) throws -> [UInt8] {
    try file.withBytes { span in span.withUnsafeBytes { Array($0) } }
  }

  @Test func `a commit is in the file, a rollback is not, and the file holds nothing else`() throws {
    let folder = try TemporaryDirectory()
    let path = folder.appending("data")
    var file = try TransactionalFile(path, creating: .ifMissing(size: 10_000))
    #expect(file.count == 10_000 && file.generation == 0)
    try file.begin()
    try file.store(UInt32(0x0403_0201), at: 4094)
    #expect(try file.load(at: 4094, as: UInt32.self) == 0x0403_0201)
    #expect(try Self.content(path).allSatisfy { $0 == 0 })
    #expect(try file.commit() == 1)
    var expected = [UInt8](repeating: 0, count: 10_000)
    expected.replaceSubrange(4094..<4098, with: [1, 2, 3, 4])
    #expect(try Self.content(path) == expected)

    try file.begin()
    try file.withMutableBytes { $0.withUnsafeMutableBytes { $0[9_999] = 7 } }
    try file.rollback()
    #expect(try Self.bytes(file) == expected)
    #expect(file.generation == 1)
    try file.close()
    #expect(try Self.content(path) == expected)
    // A proper close leaves nothing to do.
    let again = try TransactionalFile(path)
    #expect(again.recovery.replayedCommits == 0)
    #expect(again.recovery.generation == 1)
  }

  @Test func `a transaction with a closure commits when it returns and rolls back when it throws`() throws {
    struct Stop: Error {}
    let folder = try TemporaryDirectory()
    var file = try TransactionalFile(folder.appending("data"), creating: .exclusive(size: 100))
    let answer = try file.withTransaction { bytes in
      bytes.storeBytes(of: 5, toByteOffset: 3, as: UInt8.self)
      return 42
    }
    #expect(answer == 42 && file.generation == 1)
    #expect(throws: Stop.self) {
      try file.withTransaction { bytes in
        bytes.storeBytes(of: 6, toByteOffset: 3, as: UInt8.self)
        throw Stop()
      }
    }
    #expect(try file.load(at: 3, as: UInt8.self) == 5)
    #expect(file.isInTransaction == false)
  }

  @Test func `any set of changes is found and kept, whatever its size and place`() throws {
    let folder = try TemporaryDirectory()
    let size = 64 * SystemPage.size + 123
    let path = folder.appending("data")
    var file = try TransactionalFile(path, creating: .ifMissing(size: Int64(size)))
    var expected = [UInt8](repeating: 0, count: size)
    var random = Random(seed: 5)
    for round in 0..<200 {
      try file.begin()
      try file.withMutableBytes { span in
        span.withUnsafeMutableBytes { bytes in
          for _ in 0..<random.below(20) {
            let start = random.below(size)
            for at in start..<min(size, start + 1 + random.below(random.below(2) == 0 ? 10 : 9000)) {
              bytes[at] = UInt8(truncatingIfNeeded: random.next())
              if round % 3 != 0 { expected[at] = bytes[at] }
            }
          }
        }
      }
      // Every third is rolled back, every fourth waits for the next.
      if round % 3 == 0 { try file.rollback() } else { try file.commit(round % 4 == 0 ? .withNext : .durable) }
      #expect(try Self.bytes(file) == expected, "round \(round)")
    }
    try file.sync()
    #expect(try Self.content(path) == expected)
    try file.close()
    #expect(try Self.content(path) == expected)
  }

  @Test func `the file grows inside a transaction, or not at all`() throws {
    let folder = try TemporaryDirectory()
    let path = folder.appending("data")
    var file = try TransactionalFile(path, creating: .ifMissing(size: 0))
    for (newCount, isKept) in [
      (1, true), (100, false), (4096, true), (4097, false), (9000, true), (1 << 20, true), (3 << 20, false),
    ] {
      let before = try Self.bytes(file)
      try file.begin()
      try file.resize(to: newCount)
      try file.withMutableBytes { $0.withUnsafeMutableBytes { $0[newCount - 1] = 9 } }
      #expect(try Self.bytes(file).dropLast().dropFirst(before.count).allSatisfy { $0 == 0 })
      #expect(try Self.content(path) == before)
      if isKept { try file.commit() } else { try file.rollback() }
      #expect(file.count == (isKept ? newCount : before.count))
      #expect(try Self.content(path) == Self.bytes(file))
    }
    try file.begin()
    #expect { try file.resize(to: 10) } throws: { ($0 as? MappingError)?.code == .notSupported }
    #expect(throws: MappingError.self) { try file.resize(to: Int.max) }
    #expect(throws: MappingError.self) { try file.resize(to: -1) }
    try file.rollback()
  }

  @Test func `calls out of order are errors that say so`() throws {
    let folder = try TemporaryDirectory()
    var file = try TransactionalFile(folder.appending("data"), creating: .ifMissing(size: 10))
    func isWrongState(_ error: any Error) -> Bool { (error as? MappingError)?.code == .wrongState }
    #expect(throws: MappingError.self) { try file.store(UInt8(1), at: 0) }
    #expect { try file.commit() } throws: { isWrongState($0) }
    #expect { try file.rollback() } throws: { isWrongState($0) }
    #expect { try file.resize(to: 20) } throws: { isWrongState($0) }
    #expect { try file.withMutableBytes { _ in } } throws: { isWrongState($0) }
    try file.begin()
    #expect { try file.begin() } throws: { isWrongState($0) }
    for offset in [-1, 3, 10, Int.min, .max, .max - 7] {
      #expect(throws: MappingError.self) { try file.store(UInt64(1), at: offset) }
      #expect(throws: MappingError.self) { _ = try file.load(at: offset, as: UInt64.self) }
    }
    for range in [-1..<1, 5..<11, 0..<Int.max, Int.min..<Int.max] {
      #expect(throws: MappingError.self) { try file.withBytes(range) { _ in } }
      #expect(throws: MappingError.self) { try file.withMutableBytes(range) { _ in } }
    }
    #expect(try file.commit() == 0)
  }

  @Test func `a second writer is refused until the first ends`() throws {
    let folder = try TemporaryDirectory()
    let path = folder.appending("data")
    let first = try TransactionalFile(path, creating: .ifMissing(size: 10))
    #expect { _ = try TransactionalFile(path) } throws: { ($0 as? MappingError)?.code == .busy }
    try first.close()
    _ = try TransactionalFile(path)
  }

  @Test func `a file with a second name, a folder, a pipe, and a journal that is none are refused`() throws {
    let folder = try TemporaryDirectory()
    let path = try folder.file("data", [1, 2, 3])
    #expect(link(path.string, folder.appending("other").string) == 0)
    #expect { _ = try TransactionalFile(path) } throws: { ($0 as? MappingError)?.code == .notSupported }
    #expect(unlink(folder.appending("other").string) == 0)
    #expect { _ = try TransactionalFile(folder.path) } throws: { ($0 as? MappingError)?.code == .isDirectory }
    #expect(mkfifo(folder.appending("pipe").string, 0o600) == 0)
    #expect { _ = try TransactionalFile(folder.appending("pipe")) } throws: {
      ($0 as? MappingError)?.code == .unsupportedFileType
    }
    for content in [
      [], [UInt8](repeating: 0, count: 4096), Array("PGWTXJ\r\n".utf8) + [UInt8](repeating: 0, count: 5000),
    ] {
      try folder.file("data.pagewise-journal", content)
      #expect { _ = try TransactionalFile(path) } throws: {
        [.corrupt, .notSupported].contains(($0 as? MappingError)?.code)
      }
    }
  }

  @Test func `by a symbolic link the same journal is found`() throws {
    let folder = try TemporaryDirectory()
    let path = folder.appending("data")
    try TransactionalFile(path, creating: .ifMissing(size: 10)).close()
    #expect(symlink("data", folder.appending("link").string) == 0)
    var file = try TransactionalFile(folder.appending("link"))
    try file.withTransaction { $0.storeBytes(of: 1, as: UInt8.self) }
    #expect(file.path.lastComponent?.string == "data")
    try file.close()
    #expect(try TransactionalFile(path).generation == 1)
  }

  @Test func `commits of a journal that belongs to another file are refused, replayed or discarded as asked`() throws {
    let folder = try TemporaryDirectory()
    let path = folder.appending("data")
    let journal = folder.appending("data.pagewise-journal")
    for choice in [TransactionalFile.Options.StrangeJournal.refuse, .replay, .discard] {
      do {
        var file = try TransactionalFile(path, creating: .ifMissing(size: 10))
        try file.withTransaction { $0.storeBytes(of: 77, as: UInt8.self) }
        // No close: the commit stays in the journal, as after a crash.
      }
      try folder.file("fresh", [UInt8](repeating: 5, count: 10))
      #expect(rename(folder.appending("fresh").string, path.string) == 0)
      var options = TransactionalFile.Options()
      options.strangeJournal = choice
      switch choice {
      case .refuse:
        #expect { _ = try TransactionalFile(path, options: options) } throws: {
          ($0 as? MappingError)?.code == .corrupt
        }
        #expect(try Self.content(path).allSatisfy { $0 == 5 })
      case .replay: #expect(try TransactionalFile(path, options: options).load(at: 0, as: UInt8.self) == 77)
      case .discard: #expect(try TransactionalFile(path, options: options).load(at: 0, as: UInt8.self) == 5)
      }
      if choice != .refuse { #expect(try TransactionalFile(path).recovery.replayedCommits == 0) }
      unlink(path.string)
      unlink(journal.string)
    }
  }

  @Test func `a writer that ends without a close leaves its commits to the next`() throws {
    let folder = try TemporaryDirectory()
    let path = folder.appending("data")
    for mode in [TransactionalFile.Options.Application.atCommit, .atCheckpoint] {
      var options = TransactionalFile.Options()
      options.application = mode
      do {
        var file = try TransactionalFile(path, creating: .ifMissing(size: 1 << 16), options: options)
        for value in 1...5 as ClosedRange<UInt8> {
          try file.withTransaction(growingTo: file.count + 1000) { bytes in
            bytes.storeBytes(of: value, toByteOffset: 5000 * Int(value), as: UInt8.self)
            bytes.storeBytes(of: value, toByteOffset: bytes.byteCount - 1, as: UInt8.self)
          }
        }
        // Begun and not committed: nobody will see it.
        try file.begin()
        try file.store(UInt8(99), at: 0)
      }
      let file = try TransactionalFile(path)
      #expect(file.recovery.replayedCommits == 5)
      for value in 1...5 as ClosedRange<UInt8> {
        #expect(try file.load(at: 5000 * Int(value), as: UInt8.self) == value)
        #expect(try file.load(at: (1 << 16) + 1000 * Int(value) - 1, as: UInt8.self) == value)
      }
      #expect(try file.load(at: 0, as: UInt8.self) == 0)
      try file.close()
      unlink(path.string)
    }
  }

  @Test func `the journal is emptied when it is full, and reused`() throws {
    let folder = try TemporaryDirectory()
    let path = folder.appending("data")
    var options = TransactionalFile.Options()
    options.journalLimit = 100_000
    var file = try TransactionalFile(path, creating: .ifMissing(size: 1 << 20), options: options)
    var random = Random(seed: 1)
    for _ in 0..<100 {
      try file.withTransaction { span in
        span.withUnsafeMutableBytes { bytes in
          let start = random.below(1 << 19)
          for at in start..<start + 10_000 { bytes[at] = UInt8(truncatingIfNeeded: random.next()) }
        }
      }
      #expect(file.journalSize <= 100_000 + 11_000)
    }
    #expect(try Self.content(path) == Self.bytes(file))
    // One that is larger than the limit.
    try file.withTransaction { $0.withUnsafeMutableBytes { $0.copyBytes(from: [UInt8](repeating: 3, count: 1 << 20)) } }
    #expect(file.journalSize == 4096)
    #expect(try Self.content(path).allSatisfy { $0 == 3 })
  }

  @Test(arguments: [TransactionalFile.Options.Application.atCommit, .atCheckpoint])
  func `a commit writes what it changed, not what earlier ones did that are not in the file yet`(
    _ application: TransactionalFile.Options.Application
  ) throws {
    let folder = try TemporaryDirectory()
    let path = folder.appending("data")
    var options = TransactionalFile.Options()
    options.application = application
    var file = try TransactionalFile(path, creating: .ifMissing(size: 1 << 20), options: options)
    var expected = [UInt8](repeating: 0, count: 1 << 20)
    for round in 1...50 {
      try file.begin()
      try file.store(UInt8(round), at: round * 5000)
      expected[round * 5000] = UInt8(round)
      let generation = try file.commit(application == .atCommit ? .withNext : .durable)
      #expect(generation == UInt64(round))
      // One sector each.
      #expect(file.journalSize == 4096 + round * 512)
      try file.begin()
      #expect(try file.commit(.withNext) == UInt64(round), "nothing had changed")
    }
    try file.begin()
    #expect(try file.commit() == 50)
    #expect(file.durableGeneration == 50)
    #expect(try Self.bytes(file) == expected)
    try file.close()
    #expect(try Self.content(path) == expected)
  }

  @Test func `many commits of many pages stay right when private pages are dropped`() throws {
    let folder = try TemporaryDirectory()
    let path = folder.appending("data")
    let size = 3000 * SystemPage.size
    var file = try TransactionalFile(path, creating: .ifMissing(size: Int64(size)))
    var expected = [UInt8](repeating: 0, count: size)
    var random = Random(seed: 2)
    for round in 1...40 {
      let pages = round % 4 == 0 ? 900 : 20
      try file.begin()
      for _ in 0..<pages {
        let at = random.below(size - 8)
        let word = random.next()
        try file.store(word, at: at)
        withUnsafeBytes(of: word) { expected.replaceSubrange(at..<at + 8, with: $0) }
      }
      if round % 7 == 0 {
        try file.rollback()
        expected = try Self.bytes(file)
      } else {
        try file.commit(round % 5 == 0 ? .withNext : .durable)
      }
    }
    try file.sync()
    #expect(try Self.bytes(file) == expected)
    #expect(try Self.content(path) == expected)
  }

  @Test func `a file that is cut under the writer is an error, not a death, and nothing of it is committed`() throws {
    let folder = try TemporaryDirectory()
    let path = folder.appending("data")
    var file = try TransactionalFile(path, creating: .ifMissing(size: Int64(8 * SystemPage.size)))
    try file.withTransaction { $0.storeBytes(of: 1, toByteOffset: 5 * SystemPage.size, as: UInt8.self) }
    try file.begin()
    try file.store(UInt8(2), at: 100)
    #expect(truncate(path.string, SystemPage.size) == 0)
    #expect { try file.commit() } throws: { ($0 as? MappingError)?.code == .truncated }
    #expect(throws: MappingError.self) {
      try file.withBytes { span in span.withUnsafeBytes { _ = pgt_touch($0.baseAddress! + 5 * SystemPage.size) } }
    }
    #expect(throws: MappingError.self) { try file.commit() }
    // As long as the file is short there is no way back; then there is.
    #expect { try file.rollback() } throws: { ($0 as? MappingError)?.code == .truncated }
    #expect(truncate(path.string, 8 * SystemPage.size) == 0)
    try file.rollback()
    #expect(try file.load(at: 100, as: UInt8.self) == 0)
    try file.withTransaction { $0.storeBytes(of: 3, toByteOffset: 6 * SystemPage.size, as: UInt8.self) }
    #expect(try Self.content(path)[6 * SystemPage.size] == 3)
  }

  @Test func `changed pages are the same by each way of finding them`() throws {
    let folder = try TemporaryDirectory()
    let file = try PatternFile(folder.appending("file"), size: Int64(300 * SystemPage.size))
    var options = MappedFile.Options()
    options.sharing = .private
    var map = try MutableMappedFile(file.path, options: options)
    var random = Random(seed: 9)
    var expected = Set<Int>()
    for _ in 0..<40 { expected.insert(random.below(300)) }
    try map.withMutableBytes { span in
      span.withUnsafeMutableBytes { bytes in
        // Read all, change some.
        for page in 0..<300 { _ = pgt_touch(bytes.baseAddress! + page * SystemPage.size) }
        for page in expected { pgt_store(bytes.baseAddress! + page * SystemPage.size + 5, 1) }
      }
    }
    let base = map.unsafeAddress
    for way in [pgw_changed_pages, pgw_changed_pages_portable] {
      for capacity in [1, 3, 64] {
        var found = Set<Int>()
        var next = 0
        var runs = [pgw_page_run](repeating: pgw_page_run(), count: capacity)
        while next < 300 * SystemPage.size {
          let used = way(base, 300 * SystemPage.size, &runs, CInt(capacity), &next)
          try #require(used >= 0)
          for run in runs.prefix(Int(used)) {
            for page in run.start / SystemPage.size..<run.end / SystemPage.size { found.insert(page) }
          }
        }
        #expect(found == expected)
      }
    }
  }
}

extension MutableMappedFile {
  var unsafeAddress: UnsafeRawPointer {
    withReader { map in map.bytes.withUnsafeBytes { UnsafeRawPointer($0.baseAddress!) } }
  }
}

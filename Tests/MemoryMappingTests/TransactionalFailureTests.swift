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

/// Every call made to fail, and journals that are damaged.
@Suite struct TransactionalFailureTests {
  typealias Model = StorageModel.Scattered

  /// Contents of the first states.
  static let states: [[UInt8]] = {
    var model = Model()
    var states = [model.content]
    for _ in 0..<20 {
      model.advance()
      states.append(model.content)
    }
    return states
  }()

  static func write(_ number: UInt64, to file: inout TransactionalFile) throws {
    if !file.isInTransaction { try file.begin() }
    if Model.size(number) > file.count { try file.resize(to: Model.size(number)) }
    for (offset, word) in Model.changes(number) { try file.store(word.littleEndian, at: offset) }
  }

  @Test(arguments: [Errno.ioError, .noSpace, .diskQuotaExceeded, .interrupted, nil] as [Errno?])
  func `whichever call fails, the error is told, no acknowledged commit is lost, and the next open is whole`(
    _ errno: Errno?
  ) throws {
    let folder = try TemporaryDirectory(in: TransactionalCrashTests.shm())
    let path = folder.appending("data")
    var told = 0
    var silent = 0
    let applies: (CallWatch.Kind, Errno?) -> Bool = { kind, errno in
      switch errno {
      case nil: kind == .read || kind == .write
      // mmap knows no interruption.
      case .interrupted: kind != .map
      default: true
      }
    }
    let runs = try CallWatch.failEachCall([errno], applies: applies) { what, watch in
      for name in ["data", "data.pagewise-journal", "data.pagewise-journal.new"] {
        unlink(folder.appending(name).string)
      }
      var acknowledged: UInt64 = 0
      var begun: UInt64 = 0
      var failure: MappingError?
      do {
        try watch.run {
          var options = TransactionalFile.Options()
          options.journalLimit = 7_000
          var file = try TransactionalFile(path, creating: .ifMissing(size: Int64(Model.firstSize)), options: options)
          for number in 1...9 as ClosedRange<UInt64> {
            begun = number
            try Self.write(number, to: &file)
            do {
              try file.commit(number % 3 == 1 ? .withNext : .durable)
            } catch let error as MappingError where error.code == .noSpace && !file.isPoisoned {
              // As documented: the transaction is still open, and can be committed once there is space.
              failure = error
              #expect(file.isInTransaction == true, "\(what)")
              #expect(try TransactionalFileTests.bytes(file) == Self.states[Int(number)], "\(what)")
              try file.commit(.durable)
            }
            if file.durableGeneration == number { acknowledged = number }
          }
          try file.close()
        }
      } catch let error as MappingError {
        failure = error
        // A sync is never tried again, and what caller could do is in the sentence.
        #expect(error.description.contains(path.string), "\(what): \(error)")
      }
      if failure == nil { silent += 1 } else { told += 1 }
      if errno == nil || errno == .interrupted { #expect(failure == nil, "\(what): \(failure!)") }
      // Nothing may be in the way of the next one.
      guard access(path.string, F_OK) == 0 else {
        #expect(acknowledged == 0 && begun == 0, "\(what): the file is gone")
        return
      }
      let file = try TransactionalFile(path, creating: .ifMissing(size: Int64(Model.firstSize)))
      let content = try TransactionalFileTests.bytes(file)
      let number = Model.number(of: content)
      #expect(number >= acknowledged && number <= begun, "\(what): state \(number), acknowledged \(acknowledged)")
      #expect(content == Self.states[Int(min(number, 20))], "\(what): state \(number) is torn")
    }
    print(
      "calls of a TransactionalFile answered with \(errno.map { "\($0)" } ?? "short"): \(runs), \(told) told, \(silent) without effect"
    )
    #expect(runs > 30)
  }

  @Test func `the first failed sync is final, and reading goes on`() throws {
    let folder = try TemporaryDirectory()
    let path = folder.appending("data")
    var file = try TransactionalFile(path, creating: .ifMissing(size: Int64(Model.firstSize)))
    try Self.write(1, to: &file)
    try file.commit()
    try Self.write(2, to: &file)
    var fails = true
    let watch = CallWatch(before: { $0.kind == .syncData && fails ? .fail(.ioError) : .perform })
    #expect { try watch.run { try file.commit() } } throws: { ($0 as? MappingError)?.code == .inputOutput }
    fails = false
    #expect(file.isPoisoned == true)
    #expect { try file.begin() } throws: { ($0 as? MappingError)?.code == .syncFailed }
    #expect { try file.sync() } throws: { ($0 as? MappingError)?.code == .syncFailed }
    #expect { try file.checkpoint() } throws: { ($0 as? MappingError)?.code == .syncFailed }
  }

  @Test func `a commit whose way into the file fails is safe, and gets there later`() throws {
    let folder = try TemporaryDirectory()
    let path = folder.appending("data")
    var file = try TransactionalFile(path, creating: .ifMissing(size: Int64(Model.firstSize)))
    try Self.write(1, to: &file)
    var synced = false
    let watch = CallWatch(before: { call in
      if call.kind == .syncData { synced = true }
      return call.kind == .write && synced && call.length == 8 ? .fail(.noSpace) : .perform
    })
    let generation = try watch.run { try file.commit() }
    #expect(generation == 1)
    #expect(file.durableGeneration == 1 && file.appliedGeneration == 0)
    #expect(file.applicationError?.code == .noSpace)
    #expect(throws: MappingError.self) { try watch.run { try file.begin() } }
    try file.begin()
    #expect(file.applicationError == nil && file.appliedGeneration == 1)
    #expect(try TransactionalFileTests.content(path) == Self.states[1])
    try file.rollback()
  }

  /// A file with five commits in its journal, as a power cut leaves it that took all of them out of the file.
  static func unapplied(in folder: borrowing TemporaryDirectory) throws -> (data: [UInt8], journal: [UInt8]) {
    let path = folder.appending("data")
    let before: [UInt8]
    do {
      var file = try TransactionalFile(path, creating: .ifMissing(size: Int64(Model.firstSize)))
      before = try TransactionalFileTests.bytes(file)
      for number in 1...5 as ClosedRange<UInt64> {
        try Self.write(number, to: &file)
        try file.commit()
      }
    }
    return (before, try TransactionalFileTests.content(folder.appending("data.pagewise-journal")))
  }

  @Test func `a damaged journal is refused, or what it says is whole; it never traps`() throws {
    let folder = try TemporaryDirectory(in: TransactionalCrashTests.shm())
    let path = folder.appending("data")
    let journal = folder.appending("data.pagewise-journal")
    let (data, good) = try Self.unapplied(in: folder)
    var random = Random(seed: 11)
    var refused = 0
    var whole = 0
    let rounds = TransactionalCrashTests.isLong ? 100_000 : 1_600
    let used = 4096 + 6 * 1024
    for round in 0..<rounds {
      var bad = good
      let isSingle = round % 2 == 0
      if isSingle {
        bad[round / 2 < used ? round / 2 : random.below(used)] ^= UInt8(1 + random.below(255))
      } else {
        switch random.below(4) {
        case 0: bad.removeLast(random.below(bad.count))
        case 1:
          for _ in 0..<1 + random.below(40) { bad[random.below(used)] = UInt8(truncatingIfNeeded: random.next()) }
        case 2:
          // Numbers at their limits, where lengths and counts are.
          let at = 4096 + random.below(60)
          for index in 0..<min(8, bad.count - at) { bad[at + index] = random.below(2) == 0 ? 0xFF : 0x7F }
        default:
          let from = random.below(used)
          let to = random.below(used)
          let count = min(512, bad.count - max(from, to))
          bad.replaceSubrange(to..<to + count, with: good[from..<from + count])
        }
      }
      // In place: a journal belongs to an inode.
      try Self.overwrite(path, data)
      try Self.overwrite(journal, bad)
      do {
        let file = try TransactionalFile(path)
        let content = try TransactionalFileTests.bytes(file)
        let number = Int(Model.number(of: content))
        try #require(number < Self.states.count && content == Self.states[number], "round \(round): a torn state")
        // One damaged byte loses nothing silently.
        if isSingle { try #require(number == 5, "round \(round): state \(number) of 5") }
        whole += 1
      } catch is MappingError { refused += 1 }
      try Self.overwrite(path, data)
      try Self.overwrite(journal, bad)
      _ = try? TransactionalFile.verify(path)
    }
    print("damaged journals: \(rounds), \(refused) refused, \(whole) whole")
    #expect(refused > 0 && whole > 0)
  }

  static func overwrite(_ path: FilePath, _ bytes: [UInt8]) throws {
    let file = try FileDescriptor.open(path, .readWrite)
    defer { try? file.close() }
    try file.resize(to: Int64(bytes.count))
    try file.writeAll(toAbsoluteOffset: 0, bytes)
  }

  @Test func `the format of the journal is as it is written down`() throws {
    let folder = try TemporaryDirectory()
    let (_, journal) = try Self.unapplied(in: folder)
    func word(_ at: Int) -> UInt64 { journal.withUnsafeBytes { $0.loadUnaligned(fromByteOffset: at, as: UInt64.self) } }
    func half(_ at: Int) -> UInt32 { journal.withUnsafeBytes { $0.loadUnaligned(fromByteOffset: at, as: UInt32.self) } }
    #expect(Array(journal[0..<8]) == Array("PGWTXJ\r\n".utf8))
    #expect(half(8) == 1)
    let identifier = Array(journal[16..<32])
    let seed = Self.checksum(identifier)
    #expect(half(48) == Self.checksum(Array(journal[0..<48])))
    // The first epoch is odd and lies in the second slot.
    #expect(word(1024) == 1 && word(1032) == 0 && word(1040) == UInt64(Model.firstSize))
    #expect(half(1048) == Self.checksum(Array(journal[1024..<1048]), seed))
    #expect(word(2048) == 5 << 1 && word(2056) == 5 << 1)
    var at = 4096
    for number in 1...5 as ClosedRange<UInt64> {
      #expect(Array(journal[at..<at + 8]) == Array("PGWTXREC".utf8))
      #expect(word(at + 8) == 1 && word(at + 16) == number && word(at + 24) == number - 1)
      #expect(word(at + 32) == UInt64(Model.size(number)))
      let length = Int(word(at + 40))
      let runs = Int(half(at + 48))
      #expect(length % 512 == 0 && half(at + 56) == Self.checksum(Array(journal[at..<at + 56]), seed))
      var bytes = 0
      for run in 0..<runs { bytes += Int(word(at + 64 + 16 * run + 8)) }
      #expect(half(at + 52) == Self.checksum(Array(journal[at + 64..<at + 64 + 16 * runs + bytes]), seed))
      at += length
    }
  }

  /// CRC-32C, bit by bit.
  static func checksum(_ bytes: [UInt8], _ seed: UInt32 = 0) -> UInt32 {
    var crc = ~seed
    for byte in bytes {
      crc ^= UInt32(byte)
      for _ in 0..<8 { crc = crc & 1 != 0 ? crc >> 1 ^ 0x82F6_3B78 : crc >> 1 }
    }
    return ~crc
  }

  @Test func `verify tells what is pending, what is open, and what is damaged`() throws {
    let folder = try TemporaryDirectory()
    let path = folder.appending("data")
    #expect { _ = try TransactionalFile.verify(path) } throws: { ($0 as? MappingError)?.code == .notFound }
    let (data, journal) = try Self.unapplied(in: folder)
    let found = try TransactionalFile.verify(path)
    #expect(found.pendingCommits == 5 && found.generation == 0 && !found.isOpen && found.belongsTogether)
    do {
      let file = try TransactionalFile(path)
      let open = try TransactionalFile.verify(path)
      #expect(open.isOpen && open.pendingCommits == nil)
      try file.close()
    }
    let closed = try TransactionalFile.verify(path)
    #expect(closed.pendingCommits == 0 && closed.generation == 5)
    try Self.overwrite(path, data)
    var bad = journal
    bad[4096 + 70] ^= 1
    try Self.overwrite(folder.appending("data.pagewise-journal"), bad)
    #expect { _ = try TransactionalFile.verify(path) } throws: { ($0 as? MappingError)?.code == .corrupt }
  }
}

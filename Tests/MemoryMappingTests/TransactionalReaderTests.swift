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

@Suite struct TransactionalReaderTests {
  typealias Model = StorageModel.Scattered

  @Test func `a reader sees one committed state after the other, and knows which`() throws {
    let folder = try TemporaryDirectory()
    let path = folder.appending("data")
    #expect(throws: MappingError.self) { _ = try TransactionalReader(path) }
    var file = try TransactionalFile(path, creating: .ifMissing(size: Int64(Model.firstSize)))
    var reader = try TransactionalReader(path)
    for number in 1...20 as ClosedRange<UInt64> {
      try TransactionalFailureTests.write(number, to: &file)
      #expect(try reader.generation() == number - 1)
      try file.commit()
      let (content, generation) = try reader.read { bytes, generation in
        (bytes.withUnsafeBytes { Array($0) }, generation)
      }
      #expect(generation == number)
      #expect(content == TransactionalFailureTests.states[Int(number)])
    }
    struct Stop: Error {}
    #expect(throws: Stop.self) { try reader.read { _, _ in throw Stop() } }
  }

  @Test func `beside a writer in another process no reading is a mixture`() throws {
    let folder = try TemporaryDirectory()
    let path = folder.appending("data")
    try TransactionalFile(path, creating: .ifMissing(size: Int64(Model.firstSize))).close()
    var child = try RunningChild([KilledWriterTests.writer, "transactions", path.string])
    var reader = try TransactionalReader(path, patience: .seconds(20))
    var model = Model()
    var readings = 0
    var repeats = 0
    var states = 0
    try withWatchdog("readings beside a writer") {
      while states < 50 {
        readings += 1
        var tries = 0
        let (content, generation) = try reader.read { bytes, generation in
          tries += 1
          return (bytes.withUnsafeBytes { Array($0) }, generation)
        }
        repeats += tries - 1
        let number = Model.number(of: content)
        try #require(number == generation)
        try #require(number >= model.number, "a reading went back")
        if number > model.number { states += 1 }
        while model.number < number { model.advance() }
        try #require(content == model.content, "state \(number) is a mixture")
      }
    }
    child.kill()
    print("readings beside a writer: \(readings), of \(states) states, \(repeats) done again")
  }

  @Test func `a reader finishes what a killed writer had begun, and says so where it may not`() throws {
    let folder = try TemporaryDirectory()
    let path = folder.appending("data")
    let (data, _) = try TransactionalFailureTests.unapplied(in: folder)
    try TransactionalFailureTests.overwrite(path, data)
    var reader = try TransactionalReader(path)
    let content = try reader.read { bytes, _ in bytes.withUnsafeBytes { Array($0) } }
    #expect(content == TransactionalFailureTests.states[5])
    #expect(try TransactionalFile.verify(path).pendingCommits == 0)
  }

  @Test(.rootOnly("another user")) func `a reader without the right to write is told that a commit is unfinished`()
    async
  {
    await #expect(processExitsWith: .success) {
      let folder = try TemporaryDirectory()
      let path = folder.appending("data")
      let (data, _) = try TransactionalFailureTests.unapplied(in: folder)
      try TransactionalFailureTests.overwrite(path, data)
      prove(chmod(folder.path.string, 0o755) == 0 && chmod(path.string, 0o644) == 0)
      prove(chmod(folder.appending("data.pagewise-journal").string, 0o644) == 0)
      prove(pgt_set_user(65_534) == 0)
      do {
        _ = try TransactionalReader(path)
        exit(3)
      } catch let error as MappingError { prove(error.code == .busy) }
    }
  }

  @Test func `a writer that leaves no gap is told as busy after the reader's patience`() throws {
    let folder = try TemporaryDirectory()
    let path = folder.appending("data")
    let journal = folder.appending("data.pagewise-journal")
    let file = try TransactionalFile(path, creating: .ifMissing(size: 100))
    var reader = try TransactionalReader(path, patience: .milliseconds(30))
    // As while a commit is being applied.
    let state = try FileDescriptor.open(journal, .readWrite)
    try state.closeAfter {
      _ = try state.writeAll(
        toAbsoluteOffset: 2048, [1] + [UInt8](repeating: 0, count: 7) + [1] + [UInt8](repeating: 0, count: 7))
    }
    #expect { try reader.read { bytes, _ in bytes.byteCount } } throws: { ($0 as? MappingError)?.code == .busy }
    try file.close()
  }
}

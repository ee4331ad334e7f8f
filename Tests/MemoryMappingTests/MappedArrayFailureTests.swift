// SPDX-License-Identifier: Apache-2.0

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

@Suite struct MappedArrayFailureTests {
  /// Opens, appends, changes, grows, shrinks, commits and closes; tells what may be found afterwards.
  struct Run {
    /// Contents that were committed or were about to be, oldest first.
    var states: [[UInt16]]
    /// The last that was acknowledged.
    var acknowledged = 0

    mutating func go(_ path: FilePath, _ mode: MappedArrayMode) throws {
      var array = try MappedArray<UInt16>(path, creating: .ifMissing(shape: [0]), mode: mode)
      let more = (0..<40_000 as Range<UInt16>).map { $0 | 1 }
      let first = states[0] + [5]
      try step(&array, first) { try $0.append(5) }
      try step(&array, first + more) { try $0.append(contentsOf: more) }
      try step(&array, first + more + [0, 0]) { try $0.resize(to: first.count + more.count + 2) }
      let short = Array((first + more)[..<10])
      try step(&array, short) { try $0.resize(to: 10) }
      try step(&array, short + [7]) { try $0.append(7) }
      try array.close()
    }

    private mutating func step(
      _ array: inout MappedArray<UInt16>, _ next: [UInt16], _ body: (inout MappedArray<UInt16>) throws -> Void
    ) throws {
      states.append(next)
      try body(&array)
      try array.commit()
      acknowledged = states.count - 1
    }
  }

  @Test(arguments: MappedArrayTests.modes)
  func `each call that fails in turn is an error that loses nothing committed and makes nothing up`(
    _ mode: MappedArrayMode
  ) throws {
    var errors = 0
    let applies: (CallWatch.Kind, Errno?) -> Bool = { kind, errno in
      switch errno {
      case .noSpace?: [.write, .truncate, .allocate, .open, .populate, .syncData].contains(kind)
      case .noMemory?: [.map, .open, .populate].contains(kind)
      case .interrupted?: ![.map, .attributes].contains(kind)
      case nil: [.read, .write].contains(kind)
      default: true
      }
    }
    let runs = try CallWatch.failEachCall([.ioError, .noSpace, .interrupted, .noMemory, nil], applies: applies) {
      what, watch in
      let folder = try TemporaryDirectory(in: TransactionalCrashTests.shm())
      let path = folder.appending("a.npy")
      let old: [UInt16] = [1, 2, 3]
      var array = try MappedArray<UInt16>(path, creating: .exclusive(shape: [0]), mode: mode)
      try array.append(contentsOf: old.span)
      try array.commit()
      try array.close()
      var run = Run(states: [old])
      do { try watch.run { try run.go(path, mode) } } catch {
        errors += 1
        #expect(error is MappingError, "\(what): \(error)")
        #expect(
          !what.contains("interrupted") && !what.contains("Interrupted") && !what.contains("short"), "\(what): \(error)"
        )
      }
      let found = try MappedArrayTests.all(try MappedArrayTests.reopen(path, UInt16.self, mode: mode))
      #expect(run.states[run.acknowledged...].contains(found), "\(what): \(found.count) elements, \(run.acknowledged)")
    }
    print("calls of a MappedArray that were failed, \(mode): \(runs), of which \(errors) ended in an error")
    #expect(runs > 60 && errors > 15)
  }

  @Test(arguments: MappedArrayTests.modes)
  func `an append or a commit that fails can be tried again`(_ mode: MappedArrayMode) throws {
    let folder = try TemporaryDirectory(in: TransactionalCrashTests.shm())
    let path = folder.appending("a.npy")
    var array = try MappedArray<UInt32>(path, creating: .ifMissing(shape: [0]), mode: mode)
    var expected: [UInt32] = []
    var refused = 0
    for round in 0..<60 as Range<UInt32> {
      let more = (0..<3000).map { UInt32($0) &* 7 &+ round }
      // The n-th call that needs space fails, then none.
      var number = 0
      let watch = CallWatch(before: { call in
        guard [.write, .truncate, .allocate].contains(call.kind) else { return .perform }
        defer { number += 1 }
        return number == Int(round) % 5 ? .fail(.noSpace) : .perform
      })
      do {
        try watch.run {
          try array.append(contentsOf: more.span)
          try array.commit()
        }
      } catch let error as MappingError {
        #expect(error.code == .noSpace)
        refused += 1
        // The append alone may have gone through.
        if array.rowCount == expected.count { try array.append(contentsOf: more.span) }
        try array.commit()
      }
      expected += more
      try #require(array.count == expected.count)
    }
    #expect(try MappedArrayTests.all(array) == expected)
    #expect(refused > 10)
    #expect(array.isPoisoned == false)
    // A commit that is safe in the journal may be on its way into the file.
    try array.close()
    #expect(try MappedArrayTests.stored(path, UInt32.self) == expected)
  }

  @Test(arguments: MappedArrayTests.modes) func `a failed sync is final`(_ mode: MappedArrayMode) throws {
    for failing in 0..<2 {
      let folder = try TemporaryDirectory()
      let path = folder.appending("a.npy")
      var array = try MappedArray<UInt32>(path, creating: .ifMissing(shape: [1]), mode: mode)
      try array.append(5)
      var syncs = 0
      let watch = CallWatch(before: { call in
        guard call.kind == .syncData || call.kind == .syncFile else { return .perform }
        defer { syncs += 1 }
        return syncs == failing ? .fail(.ioError) : .perform
      })
      let isHit = mode == .inPlace || failing == 0
      do {
        try watch.run { try array.commit() }
        #expect(!isHit)
      } catch { #expect(isHit && (error as? MappingError)?.code == .inputOutput) }
      if isHit {
        #expect(array.isPoisoned == true)
        for _ in 0..<2 {
          #expect { try array.append(1) } throws: { ($0 as? MappingError)?.code == .syncFailed }
          #expect { try array.commit() } throws: { ($0 as? MappingError)?.code == .syncFailed }
        }
      }
    }
  }

  @Test(.rootOnly("a tmpfs of 1 MiB"), arguments: MappedArrayTests.modes)
  func `a full disk is an error and nothing is lost`(_ mode: MappedArrayMode) throws {
    let disk = try MountedImage(tmpfs: 1 << 20)
    let path = disk.appending("a.npy")
    var array = try MappedArray<UInt64>(path, creating: .ifMissing(shape: [0]), mode: mode)
    var count: UInt64 = 0
    var failure: MappingError?
    while failure == nil, count < 1 << 20 {
      do throws(MappingError) {
        try array.append(contentsOf: (count..<count + 500).map { $0 })
        try array.commit()
        count += 500
      } catch { failure = error }
    }
    #expect(failure?.code == .noSpace)
    // The journal of the atomic mode takes its part.
    #expect(count > (mode == .inPlace ? 125_000 : 30_000) && array.committedRowCount == Int(count))
    let limit = Int64(count) + 500
    #expect(try array.withSpan { span in span.indices.allSatisfy { span[$0] == UInt64($0) } })
    if mode == .atomic { try array.rollback() }
    #expect(throws: MappingError.self) {
      _ = try MappedArray<UInt64>(disk.appending("b.npy"), creating: .exclusive(shape: [1 << 20]), mode: .inPlace)
    }
    #expect { _ = try MappedArray<UInt64>(disk.appending("b.npy")) } throws: {
      ($0 as? MappingError)?.code == .notFound
    }
    try array.close()
    var again = try MappedArrayTests.reopen(path, UInt64.self, mode: mode)
    #expect(try MappedArrayTests.all(again) == (0..<count).map { $0 })
    // Space comes back: so does the room to append.
    try again.resize(to: 1000)
    try again.commit()
    for number in 1000..<2000 as Range<UInt64> { try again.append(number) }
    try again.commit()
    #expect(try MappedArrayTests.stored(path, UInt64.self) == (0..<2000).map { $0 })
    #expect(limit > 2000)
  }

  @Test func `a file that is cut under the array is an error, and what is there again can be recovered`() throws {
    let folder = try TemporaryDirectory()
    let path = folder.appending("a.npy")
    var array = try MappedArray<UInt64>(path, creating: .ifMissing(shape: [10_000]))
    try array.withMutableSpan { span in for index in span.indices { span[index] = UInt64(index) } }
    try array.commit()
    let size = try TransactionalFileTests.content(path).count
    #expect(truncate(path.string, SystemPage.size) == 0)
    #expect { try array.withMutableSpan { $0[9999] = 1 } } throws: { ($0 as? MappingError)?.code == .truncated }
    #expect { try array.withMutableSpan { $0[0] = 1 } } throws: { ($0 as? MappingError)?.code == .truncated }
    #expect(throws: MappingError.self) { _ = try array.withSpan { $0[9999] } }
    #expect(throws: MappingError.self) { _ = try array.element(at: 9999) }
    #expect(throws: MappingError.self) { try array.store(1, at: 9999) }
    #expect(throws: MappingError.self) { try array.append(1) }
    #expect(throws: MappingError.self) { try array.commit() }
    #expect(throws: MappingError.self) { try array.recover() }
    #expect(truncate(path.string, off_t(size)) == 0)
    try array.recover()
    #expect(try array.element(at: 100) == 100)
    try array.store(7, at: 9999)
    try array.commit()
    #expect(try MappedArrayTests.stored(path, UInt64.self).suffix(2) == [0, 7])
  }

  @Test func `a header that was changed anyhow never traps and never shows what is not in the file`() throws {
    let folder = try TemporaryDirectory(in: TransactionalCrashTests.shm())
    let path = folder.appending("a.npy")
    var random = Random(seed: 77)
    let ours = try MappedArray<UInt16>(path, creating: .exclusive(shape: [12, 3]))
    try ours.close()
    let made = try TransactionalFileTests.content(path)
    let plain = try NumPyHeader(elementType: UInt16.numPyElementType, shape: [12, 3]).encoded() + made[128...]
    var opened = 0
    for round in 0..<4000 {
      var bytes = round % 2 == 0 ? made : plain
      for _ in 0..<1 + random.below(3) {
        switch random.below(6) {
        case 0: bytes[random.below(min(128, bytes.count))] = UInt8(truncatingIfNeeded: random.next())
        case 1, 2: bytes[64 + random.below(24)] = Array("0123456789 ,()".utf8)[random.below(14)]
        case 3: bytes.removeLast(random.below(min(bytes.count - 128, 8)))
        case 4: bytes.swapAt(random.below(128), random.below(128))
        default: bytes[88 + random.below(40)] = Array("  \t,}\n".utf8)[random.below(6)]
        }
      }
      try folder.file("a.npy", bytes)
      if let reader = try? MappedArrayReader<UInt16>(path) {
        opened += 1
        #expect(reader.header.endOffset <= bytes.count)
        #expect(try reader.elements().count == reader.count)
        _ = try? reader.withSpan { span in span.indices.reduce(0) { $0 &+ span[$1] } }
        _ = try? reader.element(at: reader.shape.map { $0 - 1 })
      }
      guard var array = try? MappedArray<UInt16>(path) else { continue }
      let before = try MappedArrayTests.all(array)
      if (try? array.resize(to: array.rowCount &+ 1)) != nil {
        try array.commit()
        #expect(try MappedArrayTests.all(array).starts(with: before))
      }
      let shape = array.shape
      try array.close()
      #expect(try MappedArrayReader<UInt16>(path).shape == shape)
    }
    #expect(opened > 150, "too few to say much")
  }
}

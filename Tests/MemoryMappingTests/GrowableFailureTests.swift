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

@Suite struct GrowableFailureTests {
  @Test(arguments: [Errno.ioError, .noSpace, .diskQuotaExceeded, .interrupted, nil] as [Errno?])
  func `whichever call fails, the error is told, and no appended record is lost or torn`(_ errno: Errno?) throws {
    let folder = try TemporaryDirectory(in: TransactionalCrashTests.shm())
    let path = folder.appending("log")
    var told = 0
    let applies: (CallWatch.Kind, Errno?) -> Bool = { kind, errno in
      switch errno {
      case nil: kind == .read || kind == .write
      case .interrupted: kind != .map && kind != .populate
      default: true
      }
    }
    let runs = try CallWatch.failEachCall([errno], applies: applies) { what, watch in
      unlink(path.string)
      var appended: UInt64 = 0
      var failure: MappingError?
      do {
        try watch.run {
          for _ in 0..<2 {
            var file = try GrowableMappedFile(path, options: GrowableMappedFileTests.small)
            for _ in 0..<30 {
              let record = StorageModel.Records.record(appended + 1)
              do {
                try file.append(record.span.bytes)
              } catch let error as MappingError where error.code == .noSpace {
                // Nothing was appended; again.
                failure = error
                try file.append(record.span.bytes)
              }
              appended += 1
              if appended % 10 == 0 { try file.flush() }
            }
            try file.close()
          }
        }
      } catch let error as MappingError {
        failure = error
        #expect(error.description.contains(path.string), "\(what): \(error)")
      }
      if failure != nil { told += 1 }
      if errno == nil || errno == .interrupted { #expect(failure == nil, "\(what): \(failure!)") }
      guard access(path.string, F_OK) == 0 else { return #expect(appended == 0, "\(what): the file is gone") }
      let file = try GrowableMappedFile(path, options: GrowableMappedFileTests.small)
      let found = StorageModel.Records.count(try GrowableMappedFileTests.bytes(file))
      #expect(found == appended, "\(what): \(String(describing: found)) of \(appended) records")
    }
    print("calls of a GrowableMappedFile answered with \(errno.map { "\($0)" } ?? "short"): \(runs), \(told) told")
    #expect(runs > 5)
  }

  @Test func `the first failed sync is final, and what was committed is still read`() throws {
    let folder = try TemporaryDirectory()
    var file = try GrowableMappedFile(folder.appending("log"), options: GrowableMappedFileTests.small)
    try file.append([1, 2, 3 as UInt8].span.bytes)
    let watch = CallWatch(before: { $0.kind == .syncData ? .fail(.ioError) : .perform })
    #expect { try watch.run { try file.flush() } } throws: { ($0 as? MappingError)?.code == .inputOutput }
    #expect(file.isPoisoned == true)
    #expect { try file.append([4 as UInt8].span.bytes) } throws: { ($0 as? MappingError)?.code == .syncFailed }
    #expect { try file.flush() } throws: { ($0 as? MappingError)?.code == .syncFailed }
    #expect { try file.reserve(1) } throws: { ($0 as? MappingError)?.code == .syncFailed }
    #expect(try GrowableMappedFileTests.bytes(file) == [1, 2, 3])
    #expect(try GrowableMappedFile(folder.appending("other")).isEmpty == true)
  }

  @Test func `each level of flush makes the call that it is documented to make`() throws {
    let folder = try TemporaryDirectory()
    var file = try GrowableMappedFile(folder.appending("log"), options: GrowableMappedFileTests.small)
    for (level, kind) in [
      (FlushLevel.queued, CallWatch.Kind.writeback), (.data, .syncData), (.device, .syncFile), (.barrier, .syncData),
    ] {
      try file.append([1 as UInt8].span.bytes)
      var kinds: [CallWatch.Kind] = []
      try CallWatch(before: {
        kinds.append($0.kind)
        return .perform
      }).run { try file.flush(level) }
      #expect(kinds == [kind])
      #expect(file.durableCount == (level == .queued ? 0 : file.count))
    }
  }

  @Test(.rootOnly("btrfs that is full"))
  func `on a full file system that copies on write nothing dies and nothing committed is lost`() throws {
    guard Skips.require(Skips.hasProgram("mkfs.btrfs"), "a full btrfs", install: "apt-get install btrfs-progs") else {
      return
    }
    let disk = try MountedImage(.btrfs)
    let path = disk.appending("log")
    var file = try GrowableMappedFile(path, options: GrowableMappedFileTests.small)
    var number: UInt64 = 0
    for _ in 0..<200 {
      number += 1
      try file.append(StorageModel.Records.record(number).span.bytes)
    }
    try file.flush()
    try disk.fillUp()
    // Until an append or a flush fails; each page that is stored to again may need a new place.
    var failure: MappingError?
    do throws(MappingError) {
      for _ in 0..<200_000 {
        try file.append(StorageModel.Records.record(number + 1).span.bytes)
        number += 1
        if number % 50 == 0 { try file.flush() }
      }
    } catch { failure = error }
    #expect(failure?.code == .noSpace || failure?.code == .syncFailed || failure?.code == .inputOutput)
    print("a full btrfs: \(number) records, then \(failure.map { "\($0)" } ?? "nothing")")
    unlink(disk.appending("filler").string)
    _ = consume file
    let again = try GrowableMappedFile(path, options: GrowableMappedFileTests.small)
    let found = StorageModel.Records.count(try GrowableMappedFileTests.bytes(again))
    #expect(found.map { $0 >= number } == true, "\(String(describing: found)) of \(number)")
  }
}

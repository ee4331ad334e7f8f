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

/// Each call that a writable mapping makes fails in turn: by an error of the device, for want of space, by a quota, by a signal.
/// In processes of their own, where descriptors can be counted.
@Suite struct MutableFailedCallTests {
  static let page = SystemPage.size
  static let answers: [Errno?] = [.ioError, .noSpace, .diskQuotaExceeded, nil]

  /// Lets each call of `body` fail. `after` sees what it threw. A signal in the way of any call must not be seen at all.
  static func failEach(
    atLeast expected: Int, _ line: Int = #line, scene: (FilePath) throws -> Void,
    run body: (FilePath) throws -> Void, after: (MappingError?, FilePath) throws -> Void
  ) throws {
    let folder = try TemporaryDirectory()
    var failures = 0
    func run(_ watch: CallWatch, mayFail: Bool) throws {
      let path = folder.appending("file")
      try scene(path)
      let error = watch.run { failure { try body(path) } }
      prove(error == nil || mayFail, line)
      if let error {
        failures += 1
        prove(error.path == path && error.code != .interrupted && error.errno != nil, line)
        prove([.inputOutput, .noSpace].contains(error.code), line)
      }
      prove(ProcessView.descriptors { $0.hasPrefix(folder.path.string) }.isEmpty, line)
      try after(error, path)
      unlink(path.string)
      prove(names(in: folder.path) == [], line)
    }
    let runs = try CallWatch.failEachCall(answers) { _, watch in try run(watch, mayFail: true) }
    try CallWatch.failEachCall([.interrupted]) { _, watch in try run(watch, mayFail: false) }
    // One answer of four is no failure.
    prove(failures >= expected && runs >= failures + failures / 3, line)
  }

  @Test func `making a file: an error, no file and no descriptor is left, or all is well`() async {
    await #expect(processExitsWith: .success) {
      let page = MutableFailedCallTests.page
      let creations: [MutableMappedFile.Creation] = [.exclusive(size: 3 * 4096 + 1), .ifMissing(size: 3 * 4096 + 1)]
      for creation in creations {
        var options = MappedFile.Options()
        for alignment in [nil, 2 << 20] as [Int?] {
          options.alignment = alignment
          try MutableFailedCallTests.failEach(
            atLeast: 3 * 6, scene: { _ in },
            run: { path in
              var map = try MutableMappedFile(path, creating: creation, options: options)
              prove(map.count == 3 * 4096 + 1)
              try map.store(UInt8(1), at: 3 * page)
              try map.close()
            },
            after: { error, path in
              // Whatever could not be made is not there.
              if error != nil {
                prove(fileStatus(path).size == -1)
              } else {
                prove(fileStatus(path).size == 3 * 4096 + 1)
              }
            })
        }
      }
    }
  }

  @Test func `opening a file leaves it as it is, also an empty one that was to get a size`() async {
    await #expect(processExitsWith: .success) {
      for content in [PatternFile.bytes(0..<9000), []] {
        try MutableFailedCallTests.failEach(
          atLeast: 3 * 3,
          scene: { path in
            _ = try FileDescriptor.open(path, .writeOnly, options: [.create, .truncate], permissions: .ownerReadWrite)
              .closeAfterWriting(content)
          },
          run: { path in
            try MutableMappedFile(path, creating: .ifMissing(size: 9000)).close()
          },
          after: { error, path in
            let now = try fileContent(path)
            prove(now == content || (content.isEmpty && now == [UInt8](repeating: 0, count: 9000)))
          })
      }
    }
  }

  @Test func `each operation on a mapping throws and leaves it as documented`() async {
    await #expect(processExitsWith: .success) {
      let page = MutableFailedCallTests.page
      let content = PatternFile.bytes(0..<Int64(8 * page))
      enum Operation: CaseIterable {
        case grow, shrink, reserve, punch, prefault, data, part, device, barrier, queued, startWriteback
      }
      for operation in Operation.allCases {
        try MutableFailedCallTests.failEach(
          atLeast: 3 * 4,
          scene: { path in
            _ = try FileDescriptor.open(path, .writeOnly, options: [.create, .truncate], permissions: .ownerReadWrite)
              .closeAfterWriting(content)
          },
          run: { path in
            var map = try MutableMappedFile(path)
            let isSync: Bool
            let error: MappingError?
            switch operation {
            case .grow: (isSync, error) = (false, failure { try map.resize(to: 20 * page + 1) })
            case .shrink: (isSync, error) = (false, failure { try map.resize(to: page + 1) })
            case .reserve: (isSync, error) = (false, failure { try map.reserve() })
            case .punch: (isSync, error) = (false, failure { try map.punchHole(page..<2 * page) })
            case .prefault: (isSync, error) = (false, failure { try map.prefault() })
            case .data: (isSync, error) = (true, failure { try map.flush(.data) })
            case .part: (isSync, error) = (true, failure { try map.flush(.data, 5..<page + 1) })
            case .device: (isSync, error) = (true, failure { try map.flush(.device) })
            case .barrier: (isSync, error) = (true, failure { try map.flush(.barrier) })
            case .queued: (isSync, error) = (true, failure { try map.flush(.queued) })
            case .startWriteback: (isSync, error) = (true, failure { try map.startWriteback() })
            }
            guard let error else { return }
            prove(map.isPoisoned == isSync && map.fault == nil && map.count == 8 * page)
            prove(try map.content() == content && fileContent(path) == content)
            try map.store(UInt8(0xFF), at: 3)
            prove(try PatternFile.read(path, 3..<4) == [0xFF])
            try map.close()
            throw error
          },
          after: { _, _ in
          })
      }
    }
  }
}

extension FileDescriptor {
  /// Writes and closes.
  fileprivate func closeAfterWriting(_ bytes: [UInt8]) throws -> Int { try closeAfter { try writeAll(bytes) } }
}

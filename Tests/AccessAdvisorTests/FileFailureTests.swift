// SPDX-License-Identifier: Apache-2.0

import AccessAdvisor
import MemoryMapping
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

/// What cannot be measured ends in a sentence, and never in a hang.
@Suite(.serialized) struct FileFailureTests {
  @Test func `bad paths have their code and a sentence with the path`() throws {
    let folder = try TemporaryDirectory()
    let file = try folder.file("file", [1])
    let fifo = folder.appending("fifo")
    let socket = folder.appending("socket")
    #expect(fifo.withPlatformString { pgt_make_fifo($0) } == 0)
    #expect(socket.withPlatformString { pgt_make_socket($0) } >= 0)
    #expect(symlink("loop", folder.appending("loop").string) == 0)
    #expect(symlink("nowhere", folder.appending("dangling").string) == 0)
    let table: [(FilePath, MappingError.Code, String)] = [
      (folder.appending("missing"), .notFound, "there is no such file"),
      (folder.appending("dangling"), .notFound, "there is no such file"),
      (folder.appending("loop"), .symbolicLink, "loop"), (folder.path, .isDirectory, "directory"),
      (file.appending("below"), .pathInvalid, "not valid"),
      (folder.appending(String(repeating: "n", count: 300)), .pathInvalid, "too long"),
      (fifo, .unsupportedFileType, "it is a FIFO"), (socket, .unsupportedFileType, "it is a socket"),
      ("/dev/null", .unsupportedFileType, "it is a character device"),
      ("/dev/zero", .unsupportedFileType, "it is a character device"),
    ]
    withWatchdog("bad paths", seconds: 20) {
      withEvery("path", in: table) { path, code, words in
        let error = failure { () throws(MappingError) in _ = try advise(path) }
        check(error?.code == code, "\(String(describing: error))")
        check(error?.path == path, "\(String(describing: error?.path))")
        check(error.map { "\($0)".contains(words) } ?? false, "\(String(describing: error))")
      }
    }
  }

  @Test func `a file that is cut while measured is named so, at whatever row`() throws {
    let folder = try TemporaryDirectory()
    withWatchdog("cut") {
      withEvery("step", in: 0...6) { step in
        withEvery("kept", in: [0, 1, 4096, 9999] as [Int64]) { kept in
          let path = folder.appending("f")
          let file = try PatternFile(path, size: 10_000)
          let steps = Steps(at: step) { try? file.resize(kept) }
          let error = failure { () throws(MappingError) in _ = try advise(path, steps: steps) }
          check(error?.code == .truncated, "\(String(describing: error))")
          check(error?.detail == .fileSize(kept), "\(String(describing: error?.detail))")
        }
      }
    }
  }

  @Test func `a file that is cut and grown all the time ends in a report or an error`() throws {
    let folder = try TemporaryDirectory()
    let path = folder.appending("f")
    _ = try PatternFile(path, size: 200_000)
    let writer = try WriterProcess(path, size: 200_000, .pages, seed: 7)
    withWatchdog("cut and grown") {
      for turn in 0..<20 {
        let error = failure { () throws(MappingError) in _ = try advise(path, cold: turn % 2 == 1) }
        let known: [MappingError.Code] = [.truncated, .changed, .faulted]
        #expect(error.map { known.contains($0.code) } ?? true, "\(String(describing: error))")
      }
    }
    _ = consume writer
  }

  @Test func `a file that is removed while measured is named so`() throws {
    let folder = try TemporaryDirectory()
    let path = try folder.file("f", PatternFile.bytes(0..<10_000))
    let error = failure { () throws(MappingError) in
      _ = try advise(path, steps: Steps(at: 2) { _ = unlink(path.string) })
    }
    #expect(error?.code == .changed)
    #expect(error.map { "\($0)".contains("removed or renamed") } == true)
  }

  @Test func `a file that grows is measured as it was, and said to grow`() throws {
    let folder = try TemporaryDirectory()
    withEvery("step", in: 1...6) { step in
      withEvery("size", in: [3, 10_000, 300_000] as [Int64]) { size in
        let path = folder.appending("f")
        let file = try PatternFile(path, size: size)
        let report = try advise(
          path, steps: Steps(at: step) { _ = try? file.descriptor.writeAll(toAbsoluteOffset: size, [1, 2, 3, 4, 5]) })
        let grew = step < report.results.count + 1
        check(report.hazards.contains(.growing) == grew, "\(report.hazards)")
        check(report.file.facts.size == size)
      }
    }
  }

  @Test func `a rewrite with the same size is told, or fails as a change`() throws {
    let folder = try TemporaryDirectory()
    let path = folder.appending("f")
    let file = try PatternFile(path, size: 10_000)
    let report = try advise(
      path,
      steps: Steps(at: 3) {
        pgt_sleep_us(20_000)
        _ = try? file.descriptor.writeAll(toAbsoluteOffset: 0, [9, 9, 9])
      })
    #expect(report.hazards.contains(.changing))
  }

  @Test func `cancelling keeps the rows that are whole`() throws {
    let folder = try TemporaryDirectory()
    let path = try storedFile(folder, "f", size: 10_000)
    let complete = try advise(path)
    for rows in 0..<complete.results.count {
      // The first look is told, too; then the row is begun and left.
      var options = FileAdvisor.Options()
      options.seconds = 0.02
      let steps = Steps()
      let report = try FileAdvisor(options: options).advise(
        path, progress: steps.told, isCancelled: { steps.titles.count > rows + 1 })
      #expect(report.measuring.isInterrupted)
      #expect(report.results.map(\.access) == complete.results.prefix(rows).map(\.access))
      #expect(report.results.allSatisfy { $0.best != nil && $0.regret != nil })
    }
  }

  @Test func `each row is told before it is measured`() throws {
    let folder = try TemporaryDirectory()
    let steps = Steps()
    let report = try advise(try storedFile(folder, "f", size: 10_000), steps: steps)
    #expect(steps.titles.dropFirst() == report.results.map(\.access.title)[...])
  }
}

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

/// What a replacement leaves when something fails, is killed, or is not alone.
@Suite struct FileReplacementFailureTests {
  @Test func `whichever call fails, the file holds the old content or the new, and nothing else is left`() async {
    await #expect(processExitsWith: .success) {
      let folder = try TemporaryDirectory()
      let path = folder.appending("file")
      let new = PatternFile.bytes(0..<10_000)
      let (first, second) = (Array(new[..<4000]), Array(new[4000...]))
      for old in [[1, 2, 3], nil] as [[UInt8]?] {
        var placed = 0
        var failures = 0
        func run(_ watch: CallWatch, mayFail: Bool) throws {
          if let old { try folder.file("file", old) }
          let error = watch.run {
            failure {
              var replacement = try FileReplacement(path)
              try replacement.append(first.span.bytes)
              try replacement.append(second.span.bytes)
              try replacement.commit()
            }
          }
          prove(ProcessView.descriptors { $0.hasPrefix(folder.path.string) }.isEmpty)
          prove(error == nil || mayFail)
          let isNew: Bool
          if let error {
            failures += 1
            prove(error.operation == .replace && error.path == path && error.errno != nil)
            prove([.inputOutput, .noSpace, .syncFailed].contains(error.code))
            isNew = error.code == .syncFailed
            placed += isNew ? 1 : 0
          } else {
            isNew = true
          }
          let isThere = isNew || old != nil
          prove(names(in: folder.path) == (isThere ? ["file"] : []))
          if isThere { prove(try fileContent(path) == (isNew ? new : old)) }
          unlink(path.string)
        }
        let runs = try CallWatch.failEachCall([.ioError, .noSpace, .diskQuotaExceeded, nil]) { _, watch in
          try run(watch, mayFail: true)
        }
        try CallWatch.failEachCall([.interrupted]) { _, watch in try run(watch, mayFail: false) }
        // One is the sync of the folder, after the rename. One answer of four is no failure.
        prove(placed == 3 && failures >= 3 * 7 && runs >= failures + failures / 3)
      }
    }
  }

  @Test func `a folder that cannot be opened for its sync is told as that, with the new content in place`() throws {
    let folder = try TemporaryDirectory()
    let path = try folder.file("file", [1])
    let watch = CallWatch(before: { $0.kind == .syncFolder ? .fail(.tooManyOpenFiles) : .perform })
    let error = watch.run { failure { try replaceFile(path, with: [UInt8(2)].span.bytes) } }
    #expect(error?.code == .tooManyOpenFiles && error?.errno == .tooManyOpenFiles && error?.path == path)
    #expect(error.map { "\($0)".contains("the new content is in place") } == true)
    #expect(try fileContent(path) == [2])
  }

  @Test func `after an append that failed there is no commit, and the scope's end removes the new file`() throws {
    let folder = try TemporaryDirectory()
    let path = try folder.file("file", [1])
    do {
      var new = try FileReplacement(path)
      try new.append([UInt8(2)].span.bytes)
      let watch = CallWatch(before: { $0.kind == .write ? .fail(.noSpace) : .perform })
      let error = watch.run { failure { try new.append([UInt8(3), 4].span.bytes) } }
      #expect(error?.code == .noSpace && error?.offset == 1 && error?.length == 2)
      var code: MappingError.Code? = nil
      do throws(MappingError) { try new.commit() } catch { code = error.code }
      #expect(code == .wrongState)
    }
    #expect(try fileContent(path) == [1])
    #expect(names(in: folder.path) == ["file"])
  }

  @Test func `bytes of a mapping whose file was cut are an error, not a signal and not zeros`() throws {
    let folder = try TemporaryDirectory()
    let page = SystemPage.size
    let path = try folder.file("file", [1])
    let source = try PatternFile(folder.appending("source"), size: Int64(4 * page))
    let map = try MappedFile(source.path)
    try source.resize(Int64(page))
    let error = failure { try replaceFile(path, with: map.bytes) }
    #expect(error?.code == .faulted && error?.operation == .replace, "\(String(describing: error))")
    #expect(map.fault == nil)
    #expect(try fileContent(path) == [1])
    #expect(names(in: folder.path) == ["file", "source"])
  }

  @Test(.rootOnly("full file systems"), arguments: Disk.allCases)
  func `on a full disk the old file stays and the new one is gone`(disk kind: Disk) throws {
    guard let disk = try kind.make() else { return }
    let path = disk.appending("file")
    let old = PatternFile.bytes(0..<5000)
    try replace(path, old)
    try disk.fillUp()
    #expect(failure { try replace(path, [UInt8](repeating: 9, count: 8 << 20)) }?.code == .noSpace)
    #expect(try fileContent(path) == old)
    #expect(names(in: disk.path).filter { $0 != "lost+found" } == ["file", "filler"])
    #expect(try Child.succeeds("rm", disk.appending("filler").string))
    withWatchdog("space after a removal", seconds: 60) {
      while failure({ try replace(path, [7]) }) != nil { pgt_sleep_us(10_000) }
    }
    #expect(try fileContent(path) == [7])
  }

  @Test func `in every state that a power cut can leave, the file is the old or the new one, whole`() throws {
    let folder = try TemporaryDirectory()
    let old = PatternFile.bytes(0..<3000)
    let new = [UInt8](repeating: 0xEE, count: 9000)
    let path = try folder.file("file", old)
    let log = try CrashLog(folder.path.string)
    try log.record { try replace(path, new) }
    log.mark(1)
    var olds = 0
    var news = 0
    let states = log.forEachCrashState(random: 20, seed: 7) { state in
      let found = state.files["file"]
      check(found == old || (found == new), "\(state.description): \(found?.count ?? -1) bytes")
      if state.marks.contains(1) { check(found == new, "\(state.description): the old file came back") }
      check(state.files.keys.allSatisfy { $0 == "file" || isLeftover($0, of: "file") }, "\(state.files.keys)")
      if found == old { olds += 1 } else { news += 1 }
    }
    #expect(states > 20 && olds > 0 && news > 0)
  }

  @Test func `a killed process leaves the old or the new content, and at most a file that can be recognised`() async {
    await #expect(processExitsWith: .success) {
      let folder = try TemporaryDirectory()
      let size = 60_000
      let path = try folder.file("file", [UInt8](repeating: 1, count: size))
      var leftovers = 0
      var changes = 0
      var before: UInt8 = 1
      var round = 0
      // On a busy machine the child may hardly have begun.
      while round < 120 || (leftovers == 0 || changes == 0) && round < 3000 {
        round += 1
        let child = fork()
        if child == 0 {
          for value in 1... { try? replace(path, [UInt8](repeating: UInt8(1 + value % 250), count: size)) }
        }
        pgt_sleep_us(UInt32(300 + round * 97 % (6000 + round * 20)))
        prove(pgt_kill(child) == 0)
        let content = try fileContent(path)
        prove(content.count == size && content.allSatisfy { $0 == content[0] })
        changes += content[0] == before ? 0 : 1
        before = content[0]
        for name in names(in: folder.path) where name != "file" {
          prove(isLeftover(name, of: "file"))
          leftovers += 1
          prove(unlink(folder.appending(name).string) == 0)
        }
      }
      prove(leftovers > 0 && changes > 0)
    }
  }

  @Test func `of several at once each is whole, and every reader sees one of them`() throws {
    let folder = try TemporaryDirectory()
    let size = 50_000
    let path = try folder.file("file", [UInt8](repeating: 9, count: size))
    let complaints = Locked<[String]>([])
    onThreads(4) { thread in
      for round in 0..<25 {
        do {
          if thread < 2 {
            try replace(path, [UInt8](repeating: UInt8(10 + thread), count: size))
          } else {
            let content = try MappedFile(path).content()
            if content.count != size || content.contains(where: { $0 != content[0] }) {
              complaints.withLock { $0.append("a mixture in round \(round)") }
            }
          }
        } catch { complaints.withLock { $0.append("\(error)") } }
      }
    }
    #expect(complaints.withLock { $0 } == [])
    #expect(names(in: folder.path) == ["file"])
    #expect([10, 11].contains(try fileContent(path)[0]))
  }
}

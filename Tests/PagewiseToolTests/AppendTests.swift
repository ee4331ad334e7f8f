// SPDX-License-Identifier: Apache-2.0

import MemoryMapping
import SystemPackage
import Testing
import _TestSupport

#if canImport(Darwin)
  import Darwin
#elseif canImport(Musl)
  import Musl
#else
  import Glibc
#endif

/// `pagewise append`: what comes in is there, whole, whatever ends it.
@Suite(.serialized) struct AppendTests {
  static func content(_ path: FilePath) throws -> [UInt8] {
    try GrowableMappedReader(path).withBytes { $0.withUnsafeBytes { Array($0) } }
  }

  @Test func `lines, NUL-ended records and fixed ones are appended to what is there`() throws {
    let tool = try Tool()
    for (name, options, input, records) in [
      ("lines", [], Array("a\n\nlast".utf8), 3), ("nul", ["--null"], Array("a\nb\0c\0".utf8), 2),
      ("fixed", ["--stride", "4"], Array("abcdefgh".utf8), 2), ("none", [], [], 0),
    ] as [(String, [String], [UInt8], Int)] {
      let path = tool.folder.appending(name)
      for turn in 1...2 {
        let result = try tool.run(["append", "--json", path.string] + options, input: input)
        #expect(result.status == 0 && result.errors.isEmpty, "\(result)")
        let report = try #require(try result.json()["reports"].items.first)
        #expect(
          report.names == [
            "kind", "path", "appended_records", "appended_bytes", "left_over_bytes", "committed_bytes",
            "durable_bytes", "stride_bytes", "flushes_on_the_way", "seconds", "interrupted",
          ])
        #expect(report["appended_records"] == .number("\(records)"))
        #expect(report["appended_bytes"] == .number("\(input.count)"))
        #expect(report["committed_bytes"] == .number("\(input.count * turn)"))
        #expect(report["durable_bytes"] == report["committed_bytes"])
      }
      #expect(try Self.content(path) == input + input)
      // What the help says about reading it back.
      #expect(try PatternFile.read(path, 4096..<1 << 20) == input + input)
    }
  }

  @Test func `without a flush nothing is claimed to be on the device, and the file ends with its data`() throws {
    let tool = try Tool()
    let path = tool.folder.appending("log")
    let result = try tool.run(["append", "--no-flush", path.string], input: Array("abc\n".utf8))
    #expect(result.status == 0 && result.output.contains("1 record, 4 B") && result.output.contains("on device   0 B"))
    #expect(try PatternFile.read(path, 4096..<1 << 20) == Array("abc\n".utf8))
    let every = try tool.run(
      ["append", "--json", "--flush-every", "2", "--no-flush", path.string], input: Array("1\n2\n3\n".utf8))
    let report = try #require(try every.json()["reports"].items.first)
    #expect(report["flushes_on_the_way"] == .number("1") && report["durable_bytes"] == .number("8"))
  }

  @Test func `a rest that is no record: status 1, how much it was, and the records before it are there`() throws {
    let tool = try Tool()
    let path = tool.folder.appending("log")
    let result = try tool.run(["append", "--stride", "4", path.string], input: Array("abcdefghij".utf8))
    #expect(result.status == 1 && result.output.contains("left over   2 B"))
    #expect(result.errors.contains("2 of them were left over, and every whole record before them was appended: 2"))
    #expect(result.errors.split(separator: "\n").count == 1)
    #expect(try Self.content(path) == Array("abcdefgh".utf8))
  }

  @Test func `input of any size, and a record of any size, in constant memory`() throws {
    let tool = try Tool()
    let path = tool.folder.appending("log")
    // Ten times as much as the tool may have as private memory.
    let shell = "ulimit -d 40000; head -c 400000000 /dev/zero | tr '\\0' a | \"$@\""
    let result = try tool.run(["append", "--json", "--no-flush", path.string], shell: shell, seconds: 120)
    #expect(result.status == 0, "\(result)")
    let report = try #require(try result.json()["reports"].items.first)
    #expect(report["appended_records"] == .number("1") && report["appended_bytes"] == .number("400000000"))
    #expect(try PatternFile.read(path, 4096 + 399_999_990..<4096 + 400_001_000).count == 10)
  }

  @Test(.rootOnly("a full tmpfs")) func `a full disk: how many records were appended, and none is torn`() throws {
    let tool = try Tool()
    let image = try MountedImage(tmpfs: 1 << 20)
    let path = image.appending("log")
    let record = Array("0123456789abcdef0123456789abcd\n".utf8)
    let input = Array(repeatElement(record, count: 60_000).joined())
    let result = try tool.run(["append", "--json", path.string], input: input)
    #expect(result.status == 1 && result.errors.contains("no space left"), "\(result)")
    let report = try #require(try result.json()["reports"].items.first)
    let records = try #require(report["appended_records"].number.map { Int($0) })
    #expect(records > 30_000 && result.errors.contains("\(records) records were appended, and none of them is torn"))
    #expect(try Self.content(path) == Array(input.prefix(records * record.count)))
    #expect(try tool.run(["verify", path.string]).status == 0)
  }

  @Test func `what cannot be: status 1 with a sentence, and nothing is made or changed`() throws {
    let tool = try Tool()
    let text = try tool.folder.file("text", Array("hello\n".utf8))
    let missing = tool.folder.appending("missing")
    let busy = tool.folder.appending("busy")
    let writer = try GrowableMappedFile(busy)
    for (arguments, shell, word) in [
      ([text.string], "exec \"$@\"", "first 8 bytes"),
      (["--no-create", missing.string], "exec \"$@\"", "no such file"),
      ([busy.string], "exec \"$@\"", "in use"), ([tool.folder.path.string], "exec \"$@\"", "is a directory"),
      ([missing.string + "1"], "exec \"$@\" <&-", "standard input is closed"),
      ([missing.string + "2"], "exec \"$@\" </", "cannot read standard input for it: it is a directory"),
    ] {
      let result = try tool.run(["append"] + arguments, shell: shell, input: Array("x\n".utf8))
      #expect(result.status == 1 && result.errors.contains(word), "\(result)")
      #expect(result.errors.split(separator: "\n").count == 1)
    }
    #expect(try PatternFile.read(text, 0..<100) == Array("hello\n".utf8))
    #expect(access(missing.string, F_OK) != 0 && access(missing.string + "1", F_OK) != 0)
    try writer.close()
    let own = try tool.run(["append", busy.string], shell: "exec \"$@\" <\"\(busy.string)\"")
    #expect(own.status == 1 && own.errors.contains("the stream is the file itself"))
  }

  @Test func `wrong usage: status 64`() throws {
    let tool = try Tool()
    withEvery(
      "arguments",
      in: [
        [], [""], ["-"], ["a", "b"], ["--null", "--stride", "1", "f"], ["--stride", "0", "f"], ["--stride", "x", "f"],
        ["--stride", "2147483649", "f"], ["--flush-every", "0", "f"], ["--flush-every=-1", "f"],
      ]
    ) { arguments in
      let result = try tool.run(["append"] + arguments, input: Array("x\n".utf8))
      check(result.status == 64 && result.output.isEmpty && !result.errors.isEmpty, "\(result)")
    }
  }

  /// Gives two records and a part of the third, and the signal once records are in the file, however long the start takes.
  static func signalOnceAppended(_ signal: String, log: FilePath) -> String {
    """
    log=\(log.string); rm -f "$log"; mkfifo "$STREAMS/pipe"
    "$@" <"$STREAMS/pipe" & pid=$!
    exec 3>"$STREAMS/pipe"
    printf 'one\\ntwo\\nthr' >&3
    while [ ! -s "$log" ] || [ "$(wc -c <"$log")" -le 4096 ]; do sleep 0.05; done
    sleep 0.3; kill -\(signal) $pid; wait $pid; exit $?
    """
  }

  @Test func `an interruption ends it after a whole record, with what was appended and 130`() throws {
    let tool = try Tool()
    let path = tool.folder.appending("log")
    // SIGTERM, which acts as SIGINT does: a shell starts what runs in the background with SIGINT ignored.
    let shell = Self.signalOnceAppended("TERM", log: path)
    let result = try withWatchdog("interrupt") { try tool.run(["append", path.string], shell: shell, seconds: 30) }
    #expect(result.status == 130 && result.output.contains("2 records, 8 B"), "\(result)")
    #expect(
      result.errors
        == "pagewise: interrupted after a whole record; 3 bytes of the next one were not appended.\n")
    #expect(try Self.content(path) == Array("one\ntwo\n".utf8))
    let json = try tool.run(["append", "--json", path.string], shell: shell, seconds: 30)
    #expect(json.status == 130)
    #expect(try json.json()["interrupted"] == .bool(true))
  }

  @Test func `what was committed when it is killed is there`() throws {
    let tool = try Tool()
    let path = tool.folder.appending("log")
    let shell = Self.signalOnceAppended("KILL", log: path)
    _ = try tool.run(["append", path.string], shell: shell, seconds: 30)
    #expect(try Self.content(path) == Array("one\ntwo\n".utf8))
    let report = try #require(try tool.run(["verify", "--json", path.string]).json()["reports"].items.first)
    #expect(report["sound"] == .bool(true) && report["committed_bytes"] == .number("8"))
  }
}

// SPDX-License-Identifier: Apache-2.0

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

/// `pagewise stream`: the bytes, the sums, and what goes to which stream.
@Suite(.serialized) struct StreamCommandTests {
  /// Compares standard output with the files named, and prints what `cmp` and the tool said.
  private static func compare(_ names: [FilePath]) -> String {
    "\"$@\" >\"$STREAMS/copy\"; echo $?; cat \(names.map(\.string).joined(separator: " ")) | cmp - \"$STREAMS/copy\" && echo same"
  }

  @Test func `several paths are copied one after the other, by each method and chunk`() throws {
    let tool = try Tool()
    let (one, two) = (tool.folder.appending("one"), tool.folder.appending("two"))
    _ = try PatternFile(one, size: 10_000_001)
    _ = try PatternFile(two, size: 4097)
    let empty = try tool.folder.file("empty")
    withEvery("method", in: ["measured", "map", "read", "dontcache", "direct"]) { method in
      withEvery("chunk", in: ["4096", "64K", "1MiB", "1G"]) { chunk in
        let result = try tool.run(
          ["stream", "--method", method, "--chunk", chunk, one.string, empty.string, two.string],
          shell: Self.compare([one, two]))
        check(result.output == "0\nsame\n" && result.errors.isEmpty, "\(result)")
      }
    }
  }

  @Test func `ranges, with units and open ends`() throws {
    let tool = try Tool()
    let path = try tool.folder.file("f", Array("0123456789".utf8))
    for (range, bytes) in [
      ("0..4", "0123"), ("3..", "3456789"), ("..2", "01"), ("..", "0123456789"), ("4..4", ""), ("9..10", "9"),
    ] {
      let result = try tool.run(["stream", "--range", range, path.string])
      #expect(result.status == 0 && result.output == bytes, "\(range): \(result)")
    }
    let beyond = try tool.run(["stream", "--range", "3..1K", path.string])
    #expect(beyond.status == 1 && beyond.errors.contains("the range is not inside it") && beyond.output.isEmpty)
    let pipe = try tool.run(["stream", "--range", "3..6", "-"], shell: "printf 0123456789 | \"$@\"")
    #expect(pipe.status == 0 && pipe.output == "345", "\(pipe)")
  }

  @Test func `standard input is copied: a pipe, and a file from where it is`() throws {
    let tool = try Tool()
    let path = try tool.folder.file("f", [0x41, 0x42])
    let pipe = try tool.run(["stream", path.string, "-", path.string], shell: "printf 'x\\ny' | \"$@\"")
    #expect(pipe.status == 0 && pipe.output == "ABx\nyAB", "\(pipe)")
    let file = try tool.run(["stream", "-"], input: Array("first\nsecond\n".utf8))
    #expect(file.status == 0 && file.output == "first\nsecond\n")
    let rest = try tool.run(
      ["stream", "-"], shell: "read line && exec \"$@\"", input: Array("first\nsecond\n".utf8))
    #expect(rest.status == 0 && rest.output == "second\n", "\(rest)")
    let fifo = try tool.run(
      ["stream"], shell: "mkfifo \"$STREAMS/p\"; (sleep 0.2; echo hello >\"$STREAMS/p\") & \"$@\" \"$STREAMS/p\"; wait")
    #expect(fifo.output == "hello\n", "\(fifo)")
    let closed = try tool.run(["stream", "-"], shell: "exec \"$@\" <&-")
    #expect(closed.status == 1 && closed.errors.contains("standard input is closed"), "\(closed)")
  }

  @Test func `checksums are those of RFC 3720, one line for each path, and no bytes`() throws {
    let tool = try Tool()
    let path = try tool.folder.file("f", Array("123456789".utf8))
    let zeros = try tool.folder.file("zeros", [UInt8](repeating: 0, count: 32))
    let result = try tool.run(["stream", "--sum", "crc32c", path.string, zeros.string])
    #expect(result.status == 0 && result.output == "e3069283  \(path)\n8a9136aa  \(zeros)\n", "\(result)")
    let json = try tool.run(["stream", "--sum", "crc32c", "--json", path.string, "/nonexistent"])
    let value = try json.json()
    #expect(json.status == 1 && value["reports"].items.count == 1 && value["errors"].items.count == 1)
    let report = try #require(value["reports"].items.first)
    #expect(report["kind"] == .string("stream") && report["crc32c"] == .string("e3069283"))
    #expect(report["bytes"] == .number("9") && report["complete"] == .bool(true))
  }

  @Test func `statistics go to standard error, beside the bytes, also as JSON`() throws {
    let tool = try Tool()
    let path = tool.folder.appending("f")
    _ = try PatternFile(path, size: 3 << 20)
    let text = try tool.run(["stream", "--stats", "--method", "read", path.string], shell: Self.compare([path]))
    #expect(text.output == "0\nsame\n")
    for words in [path.string, "3.00 MiB (3,145,728 bytes)", "read: as asked", "windows", "dropped", "kept"] {
      #expect(text.errors.contains(words), "\(words): \(text.errors)")
    }
    let shell = "exec 3>&1; \"$@\" 2>&1 >/dev/null"
    let json = try tool.run(["stream", "--stats", "--json", "--method", "direct", path.string], shell: shell).json()
    // Nothing but JSON, also where a path fails.
    let failed = try tool.run(["stream", "--stats", "--json", "/nonexistent", path.string], shell: shell)
    #expect(
      try failed.status == 1 && failed.json()["errors"].items.count == 1 && failed.json()["reports"].items.count == 1)
    let report = try #require(json["reports"].items.first)
    #expect(report["bytes"] == .number("3145728") && report["crc32c"] == .null)
    #expect(report["methods"].items.contains { $0["method"] == .string("direct") })
    for name in [
      "seconds", "reason", "windows", "window_bytes", "chunk_bytes", "memory_is_scarce", "residency_known",
      "dropped_pages",
      "kept_pages", "left_pages", "refused_advice",
    ] { #expect(report[name] != .null, "\(name)") }
  }

  @Test func `paths that fail have their sentence, the others are copied, the status is 1`() throws {
    let tool = try Tool()
    let good = try tool.folder.file("good", [0x67])
    let result = try tool.run(["stream", "/nonexistent", good.string, tool.folder.path.string, good.string])
    #expect(result.status == 1 && result.output == "gg")
    let sentences = result.errors.split(separator: "\n")
    #expect(sentences.count == 2, "\(sentences)")
    #expect(sentences.first?.hasPrefix("pagewise: /nonexistent: cannot open: there is no such file") == true)
    #expect(sentences.last?.contains("it is a directory") == true)
  }

  @Test func `wrong usage: status 64 and the reason`() throws {
    let tool = try Tool()
    let cases: [([String], String)] = [
      ([], "path"), ([""], "empty"), (["--method", "fast", "f"], "measured"), (["--chunk", "0", "f"], "--chunk"),
      (["--chunk", "1X", "f"], "--chunk"), (["--chunk", "-1", "f"], "chunk"),
      (["--chunk", "9999999T", "f"], "--chunk"),
      (["--range", "5..4", "f"], "--range"), (["--range", "5", "f"], "--range"), (["--range", "a..b", "f"], "--range"),
      (["--range", "0..99999999P", "f"], "--range"), (["--sum", "md5", "f"], "crc32c"), (["--json", "f"], "--sum"),
    ]
    withEvery("arguments", in: cases) { arguments, word in
      let result = try tool.run(["stream"] + arguments)
      check(result.status == 64 && result.output.isEmpty && result.errors.contains(word), "\(result)")
    }
    let help = try tool.run(["stream", "--help"])
    #expect(help.status == 0 && help.lines.allSatisfy { $0.count <= 80 || $0.hasPrefix("USAGE: ") })
  }

  @Test func `a reader that goes away ends it as it ends cat, and nothing is left in memory`() throws {
    let tool = try Tool()
    let path = tool.folder.appending("f")
    let file = try PatternFile(path, size: 60 << 20)
    /// Pages of the file that are in memory.
    func resident() throws -> Int {
      let base = try #require(pgt_map_file(file.descriptor.rawValue, 60 << 20, 0, false))
      defer { _ = pgt_unmap(base, 60 << 20) }
      var vector = [UInt8](repeating: 0, count: (60 << 20) / sysconf(CInt(_SC_PAGESIZE)))
      #expect(mincore(base, 60 << 20, &vector) == 0)
      return vector.count { $0 & 1 != 0 }
    }
    #expect(fsync(file.descriptor.rawValue) == 0 && pgt_drop_caches(file.descriptor.rawValue) == 0)
    let before = try resident()
    #expect(before < 100)
    withEvery("signal", in: ["", "trap '' PIPE; "]) { trap in
      let result = try tool.run(
        ["stream", path.string], shell: "\(trap){ \"$@\"; echo $? >&2; } | head -c 100000 | wc -c")
      check(result.errors == (trap.isEmpty ? "141\n" : "1\n"), result.errors)
      check(result.output == "100000\n", result.output)
      let after = try resident()
      check(after <= before, "\(before) pages before, \(after) after")
    }
  }

  @Test func `output that takes no more is told, and one that makes wait is waited for`() throws {
    let tool = try Tool()
    let path = try tool.folder.file("f", [1, 2, 3])
    let full = try tool.run(["stream", path.string], shell: "exec \"$@\" >/dev/full")
    #expect(full.status == 1 && full.errors.contains("cannot write to standard output: No space left"), "\(full)")
    let closed = try tool.run(["stream", path.string], shell: "exec \"$@\" >&-")
    #expect(closed.status == 1, "\(closed)")
    #expect(try PatternFile.read(path, 0..<10) == [1, 2, 3])
    // Slowly, through a pipe: every write is partial.
    let large = tool.folder.appending("large")
    _ = try PatternFile(large, size: 1 << 20 | 1)
    let slow = try tool.run(
      ["stream", large.string], shell: "\"$@\" | { sleep 0.3; cat; } | cmp - \(large.string) && echo same")
    #expect(slow.output == "same\n", "\(slow)")
  }

  @Test func `an interruption ends it with 130`() throws {
    guard Skips.require(Skips.hasProgram("timeout"), "interrupting", install: "apt-get install coreutils") else {
      return
    }
    let tool = try Tool()
    // Alone, not with its group: the second signal would be the end.
    let interrupt = "timeout --foreground --preserve-status -s INT 0.7 \"$@\"; exit $?"
    // Without an end: only the interruption ends it.
    let zero = try withWatchdog("interrupt") {
      try tool.run(["stream", "/dev/zero"], shell: "exec >/dev/null; " + interrupt, seconds: 20)
    }
    #expect(zero.status == 130 && zero.errors == "pagewise: interrupted; the rest was not read.\n", "\(zero)")
    let waiting = try withWatchdog("interrupt") {
      try tool.run(["stream", "-"], shell: "sleep 5 | { \(interrupt); }", seconds: 20)
    }
    #expect(waiting.status == 130, "\(waiting)")
  }

  @Test func `a file that is cut meanwhile has its sentence, and no signal ends the tool`() throws {
    let tool = try Tool()
    let path = tool.folder.appending("f")
    withEvery("method", in: ["map", "read", "dontcache", "direct"]) { method in
      withEvery("what", in: [[], ["--sum", "crc32c"]]) { (what: [String]) in
        _ = try PatternFile(path, size: 64 << 20)
        // The reader cuts the file once it has bytes; a sum has none, so it is cut by a timer, perhaps before or after.
        let shell =
          what.isEmpty
          ? "{ \"$@\"; echo $? >&2; } | { head -c 1000 >/dev/null; truncate -s 1000000 \(path.string); cat >/dev/null; }"
          : "( sleep 0.02; truncate -s 1000000 \(path.string) ) & \"$@\"; echo $? >&2; wait"
        let result = try tool.run(["stream", "--method", method] + what + [path.string], shell: shell)
        if what.isEmpty {
          check(
            result.errors.contains("the file was cut while in use") && result.errors.hasSuffix("1\n"), result.errors)
        } else {
          check(["0\n", "1\n"].contains { result.errors.hasSuffix($0) }, result.errors)
          check(result.output.isEmpty == result.errors.hasSuffix("1\n"), "\(result)")
        }
      }
    }
  }

  @Test func `waiting for a FIFO that nobody writes ends at the first Ctrl-C`() throws {
    let tool = try Tool()
    let shell = """
      mkfifo "$STREAMS/fifo"
      timeout --foreground --preserve-status -s INT 0.5 "$@" "$STREAMS/fifo"; echo $? >&2
      """
    let result = try withWatchdog("FIFO", seconds: 30) { try tool.run(["stream"], shell: shell, seconds: 20) }
    #expect(result.errors.hasSuffix("130\n") && result.output.isEmpty, "\(result)")
  }
}

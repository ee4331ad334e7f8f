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

/// Exit statuses, and what goes to which stream.
@Suite(.serialized) struct StatusTests {
  @Test func `all is well: status 0, the table on standard output, nothing on standard error`() throws {
    let tool = try Tool()
    let path = try tool.folder.file("small", PatternFile.bytes(0..<3000))
    let result = try tool.advise(path.string)
    #expect(result.status == 0 && result.errors.isEmpty)
    #expect(result.lines.first == path.string[...])
    for row in ["access", "whole once", "random byte x 12", "open, read, close"] {
      #expect(result.output.contains("  \(row)  "), "\(row)")
    }
    let words = result.output.split(whereSeparator: \.isWhitespace).joined(separator: " ")
    #expect(words.contains("medians of") && words.contains("all saw the same bytes"))
    #expect(!result.output.contains("\u{1B}"), "colours in a file")
    #expect(result.lines.allSatisfy { $0.utf8.count <= 100 })
    #expect(result.output.utf8.allSatisfy { $0 < 0x80 }, "characters beyond ASCII in a file")
  }

  /// Arguments that are no usage, and a word of what is said.
  static let misuses: [([String], String)] = [
    (["advise"], "PATH"), (["advise", ""], "empty"), (["bogus"], "bogus"), (["advise", "--bogus", "f"], "bogus"),
    (["advise", "--seconds", "0", "f"], "0.02"), (["advise", "--seconds=-1", "f"], "0.02"),
    (["advise", "--seconds", "nan", "f"], "0.02"), (["advise", "--seconds", "inf", "f"], "0.02"),
    (["advise", "--seconds", "1e99", "f"], "0.02"), (["advise", "--seconds", "long", "f"], "long"),
    (["advise", "--seconds"], "seconds"), (["advise", "--files0-from", "-", "f"], "not both"),
    (["advise", "--files0-from", "/nonexistent/list"], "/nonexistent/list"),
  ]

  @Test func `wrong usage: status 64, and the reason on standard error only`() throws {
    let tool = try Tool()
    withEvery("arguments", in: Self.misuses) { arguments, word in
      let result = try tool.run(arguments)
      check(result.status == 64, "status \(result.status)")
      check(result.output.isEmpty, result.output)
      check(result.errors.contains(word), result.errors)
    }
  }

  @Test func `help fits 80 columns and names the exit statuses`() throws {
    let tool = try Tool()
    let result = try tool.run(["advise", "--help"])
    #expect(result.status == 0 && result.errors.isEmpty)
    for status in ["  0    ", "  1    ", "  64   ", "  130  "] { #expect(result.output.contains(status)) }
    // The usage line is one line by itself.
    #expect(result.lines.allSatisfy { $0.count <= 80 || $0.hasPrefix("USAGE: ") })
    #expect(try tool.run(["--version"]).status == 0)
  }

  @Test func `paths that fail: status 1, one sentence for each, and the others are reported`() throws {
    let tool = try Tool()
    let good = try tool.folder.file("good", [1, 2, 3])
    let fifo = tool.folder.appending("fifo")
    #expect(fifo.withPlatformString { pgt_make_fifo($0) } == 0)
    #expect(symlink("loop", tool.folder.appending("loop").string) == 0)
    let names = ["missing", "fifo", "loop", "good/below"]
    let bad = names.map { tool.folder.appending($0).string } + ["/dev/zero"]
    let result = try withWatchdog("bad paths") {
      try tool.run(["advise", "--seconds", "0.02"] + bad + [good.string], seconds: 20)
    }
    #expect(result.status == 1)
    #expect(result.lines.first == good.string[...])
    let sentences = result.errors.split(separator: "\n")
    #expect(sentences.count == bad.count)
    for (sentence, path) in zip(sentences, bad) {
      #expect(sentence.hasPrefix("pagewise: \(path): cannot "), "\(sentence)")
      #expect(sentence.hasSuffix("."), "\(sentence)")
    }
  }

  @Test(.rootOnly("what another user is told")) func `what this user may not read has its sentence`() throws {
    guard Skips.require(Skips.hasProgram("setpriv"), "another user", install: "apt-get install util-linux") else {
      return
    }
    let tool = try Tool()
    let path = try tool.folder.file("secret", [1])
    #expect(chmod(tool.folder.path.string, 0o755) == 0 && chmod(path.string, 0) == 0)
    // The tool itself may lie where that user cannot go: a copy is run.
    let shell = """
      cp "$1" "\(tool.folder.path.string)/tool" && shift
      exec setpriv --reuid 65534 --regid 65534 --clear-groups "\(tool.folder.path.string)/tool" "$@"
      """
    let result = try tool.advise(path.string, shell: shell)
    guard Skips.require(result.status != 127, "another user", install: "a toolchain that all may read") else { return }
    #expect(result.status == 1 && result.output.isEmpty)
    #expect(result.errors.contains("permission denied"))
  }

  @Test func `a folder with failures in it: status 1, the report all the same`() throws {
    let tool = try Tool()
    try tool.folder.file("file", [1])
    #expect(symlink("nowhere", tool.folder.appending("dangling").string) == 0)
    let result = try tool.advise("--follow", tool.folder.path.string)
    #expect(result.status == 1)
    #expect(result.output.contains("1 file, 1 B, 1 folder") && result.output.contains("1 entry, see standard error"))
    #expect(result.errors.contains("dangling: cannot stat: there is no such file"))
    #expect(try tool.advise(tool.folder.path.string).status == 0)
  }

  @Test func `output that cannot be written: status 1 and the reason, never silence`() throws {
    let tool = try Tool()
    let path = try tool.folder.file("f", [1, 2, 3])
    withEvery("output", in: [("/dev/full", "No space left"), ("&-", "Bad file descriptor")]) { target, reason in
      for option in ["--plain", "--json"] {
        let result = try tool.advise(option, path.string, shell: "exec \"$@\" >\(target)")
        check(result.status == 1, "\(option): status \(result.status)")
        check(result.errors.contains("cannot write to standard output: \(reason)"), result.errors)
      }
    }
    // No stream at all: nothing is written into the files that are opened instead.
    let result = try tool.advise(path.string, shell: "exec \"$@\" <&- >&- 2>&-")
    #expect(result.status == 1)
    #expect(try PatternFile.read(path, 0..<10) == [1, 2, 3])
  }

  @Test func `a reader that goes away ends it without a word`() throws {
    let tool = try Tool()
    let path = try tool.folder.file("f", [1, 2, 3])
    withEvery("option", in: ["--plain", "--json"]) { option in
      withEvery("signal", in: ["", "trap '' PIPE; "]) { before in
        let many = Array(repeating: path.string, count: 10)
        let result = try tool.run(
          ["advise", "--seconds", "0.1", option] + many, shell: "\(before){ \"$@\"; echo $? >&2; } | head -c 1")
        // Ended by the signal, or, where that is ignored, by the failed write: after the first reports, not the last.
        check(result.errors == (before.isEmpty ? "141\n" : "1\n"), result.errors)
        check(result.output.utf8.count == 1)
      }
    }
  }
}

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

/// `pagewise explain`.
@Suite(.serialized) struct ExplainTests {
  static let page = Int64(4096)

  @Test func `an address of a process, by its number and by a saved list`() throws {
    let tool = try Tool()
    let path = try tool.folder.file("f", PatternFile.bytes(0..<Self.page))
    let child = try HoldingChild(path, [pgt_hold(0, 2 * Self.page)])
    let address = String(child.addresses[0] + 4096 + 16, radix: 16)
    for spelling in [address, "0x" + address, "0X" + address.uppercased()] {
      let live = try tool.run(["explain", "--pid", "\(child.id)", spelling])
      #expect(live.status == 0 && live.errors.isEmpty, "\(live)")
      #expect(live.lines.first == "0x\(address)"[...])
      #expect(live.output.contains("  process     \(child.id) "))
      #expect(live.output.contains("  in file     byte 4,112, page 1\n"))
      #expect(live.output.contains("An access is a SIGBUS: the file has 4096"))
      #expect(live.output.contains("still at its path\n") && live.output.contains("  remedy      "))
    }
    let maps = Array(ProcessView.text(FilePath("/proc/\(child.id)/maps")).utf8)
    let saved = try tool.run(["explain", "--maps", "-", address], input: maps)
    #expect(saved.status == 0 && saved.output.contains("  source      a saved list of mappings\n"), "\(saved)")
    #expect(saved.output.contains("as it is at its path now") && saved.output.contains("4096 bytes now"))
    let file = try tool.folder.file("maps", maps)
    let json = try tool.run(["explain", "--json", "--maps", file.string, address])
    let report = try #require(try json.json()["reports"].items.first)
    #expect(
      report.names == [
        "kind", "address", "source", "place", "signal", "mapping", "below", "above", "file_offset_bytes", "file_page",
        "file", "cause", "remedy",
      ])
    #expect(report["place"] == .string("past_end") && report["file_offset_bytes"] == .number("4112"))
    #expect(report["address"] == .string("0x" + address) && report["signal"] == .null && report["below"] == .null)
    #expect(report["mapping"].names == ["addresses", "permissions", "shared", "offset_bytes", "name", "deleted"])
    #expect(report["mapping"]["shared"] == .bool(true) && report["mapping"]["name"] == .string(path.string))
    #expect(
      report["file"].names == ["size_bytes", "naming", "mapped_file_itself", "file_system", "hole", "free_bytes"])
    #expect(report["file"]["hole"] == .null && report["file"]["size_bytes"] == .number("4096"))
    let live = try #require(
      try tool.run(["explain", "--json", "--pid", "\(child.id)", "0"]).json()["reports"].items.first)
    #expect(live["place"] == .string("null_pointer") && live["mapping"] == .null && live["above"]["name"].text != nil)
    let full = try tool.run(["explain", "--pid", "\(child.id)", "0"], shell: "exec \"$@\" >/dev/full")
    #expect(full.status == 1 && full.errors.contains("No space left"))
  }

  @Test func `a core: the address of the fault by itself, and another one`() throws {
    let tool = try Tool()
    let pattern = ProcessView.text("/proc/sys/kernel/core_pattern")
    guard
      Skips.require(
        !pattern.hasPrefix("|") && !pattern.contains("/") && !pattern.contains("%"), "real cores",
        install: "sysctl kernel.core_pattern=core")
    else { return }
    let path = try tool.folder.file("f", PatternFile.bytes(0..<Self.page))
    var address: UInt = 0
    let pid = tool.folder.path.withPlatformString { folder in
      path.withPlatformString { pgt_fork_crash(folder, $0, CInt(PGT_CRASH_PAST_END), &address) }
    }
    try #require(pid > 0 && pgt_wait(pid, 20_000) == 256 + SIGBUS)
    let names = ["\(pattern.dropLast())", "\(pattern.dropLast()).\(pid)"].map { tool.folder.appending($0) }
    let core = names.first { access($0.string, R_OK) == 0 }
    guard Skips.require(core != nil, "real cores", install: "ulimit -H -c unlimited"), let core else { return }
    let text = String(address, radix: 16)
    let found = try tool.run(["explain", "--core", core.string])
    #expect(found.status == 0 && found.errors.isEmpty && found.lines.first == "0x\(text)"[...], "\(found)")
    #expect(found.output.contains("  signal      SIGBUS (BUS_ADRERR)\n"))
    #expect(found.output.contains("of process \(pid) "))
    #expect(found.output.contains("  in file     byte 4,112, page 1\n"))
    let other = try tool.run(["explain", "--core", core.string, "10"])
    #expect(other.output.contains("  signal      SIGBUS (BUS_ADRERR) at 0x\(text)\n"))
    #expect(other.output.contains("a nil pointer"))
    let report = try #require(
      try tool.run(["explain", "--json", "--core", core.string]).json()["reports"].items.first)
    #expect(report["signal"].names == ["number", "name", "code", "code_name", "address"])
    #expect(report["pid"] == .number("\(pid)") && report["source"] == .string("core"))
    // A core that was cut is an error with a reason, not the end of the tool.
    #expect(truncate(core.string, 1000) == 0)
    let cut = try tool.run(["explain", "--core", core.string])
    #expect(cut.status == 1 && cut.output.isEmpty && cut.errors.contains("the file ends before its "), "\(cut)")
  }

  @Test func `what cannot be explained: status 1; wrong usage: status 64`() throws {
    let tool = try Tool()
    let text = try tool.folder.file("text", Array("hello\n".utf8))
    let missing = tool.folder.appending("missing").string
    for (arguments, words) in [
      (["--core", text.string], "the file ends before its header"), (["--core", missing], "there is no such file"),
      (["--core", "/dev/zero"], "it is a character device"),
      (["--core", tool.folder.path.string], "it is a directory"),
      (["--maps", text.string, "0"], "line 1 is none of /proc/PID/maps"), (["--maps", missing, "0"], "no such file"),
      (["--maps", tool.folder.path.string, "0"], "it is a directory"),
      (["--pid", "2147483647", "0"], "no process that runs has this number"),
      (["--maps", "-", "0"], "there is no line"),
    ] {
      let result = try tool.run(["explain"] + arguments)
      #expect(result.status == 1 && result.output.isEmpty && result.errors.contains(words), "\(arguments): \(result)")
      #expect(result.errors.split(separator: "\n").count == 1)
    }
    for arguments in [
      [], ["0"], ["--pid", "1"], ["--maps", "-"], ["--pid", "0", "0"], ["--pid", "1", "--core", "c", "0"],
      ["--pid", "1", "x"], ["--pid", "1", ""], ["--pid", "1", "0x"], ["--pid", "1", "-1"], ["--core", ""],
      ["--pid", "1", "10000000000000000"], ["--pid", "1", "0", "0"], ["--pid", "1", "+5"], ["--maps", "", "0"],
    ] {
      let wrong = try tool.run(["explain"] + arguments)
      #expect(wrong.status == 64 && wrong.output.isEmpty && !wrong.errors.isEmpty, "\(arguments)")
    }
    let help = try tool.run(["explain", "--help"])
    #expect(help.status == 0 && help.errors.isEmpty)
    for status in ["  0    ", "  1    ", "  64   ", "EXAMPLES:"] { #expect(help.output.contains(status)) }
    #expect(help.lines.allSatisfy { $0.count <= 80 || $0.hasPrefix("USAGE: ") })
  }
}

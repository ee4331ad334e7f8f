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

/// `pagewise hazards`.
@Suite(.serialized) struct HazardsToolTests {
  static let page = Int64(4096)

  @Test func `a danger: status 2, with what, where, consequence and remedy`() throws {
    let tool = try Tool()
    let path = try tool.folder.file("f", PatternFile.bytes(0..<2 * Self.page))
    let child = try HoldingChild(path, [pgt_hold(0, 2 * Self.page)])
    let well = try tool.run(["hazards", "--pid", "\(child.id)"])
    #expect(well.status == 0 && well.errors.isEmpty && well.output.hasPrefix("found       no hazards\n"), "\(well)")
    #expect(truncate(path.string, 1) == 0)
    let table = try tool.run(["hazards", path.string])
    #expect(table.status == 2 && table.errors.isEmpty, "\(table)")
    #expect(table.lines.first?.hasPrefix("danger   past_end       \(child.id) ") == true)
    #expect(table.lines.first?.hasSuffix(path.string) == true)
    let start = String(child.addresses[0] + 4096, radix: 16)
    #expect(table.output.contains("4096 mapped bytes lie past the end of the file, which has 1."))
    #expect(table.output.contains("  where   \(start)-\(String(child.addresses[0] + 8192, radix: 16))\n"))
    for word in ["SIGBUS", "  remedy  ", "found       1 danger\n"] { #expect(table.output.contains(word)) }
    let json = try tool.run(["hazards", "--json", "--pid", "\(child.id)"])
    #expect(json.status == 2)
    let report = try #require(try json.json()["reports"].items.first)
    #expect(
      report.names == [
        "kind", "worst", "hazards", "mappings", "processes", "unknown_files", "complete", "interrupted",
      ])
    #expect(report["worst"] == .string("danger") && report["complete"] == .bool(true))
    let hazard = try #require(report["hazards"].items.first)
    #expect(
      hazard.names == [
        "kind", "severity", "pid", "name", "uid", "cgroup", "path", "addresses", "amount", "limit", "what",
        "consequence", "remedy",
      ])
    #expect(hazard["path"] == .string(path.string) && hazard["amount"] == .number("4096") && hazard["limit"] == .null)
    #expect(hazard["addresses"].items.map(\.text) == ["\(start)-\(String(child.addresses[0] + 8192, radix: 16))"])
    let ignored = try tool.run(["hazards", "--ignore", "sparse", "--ignore", "past_end", path.string])
    #expect(ignored.status == 0 && ignored.output.hasPrefix("found       no hazards\n"))
    let full = try tool.run(["hazards", path.string], shell: "exec \"$@\" >/dev/full")
    #expect(full.status == 1 && full.errors.contains("No space left"))
  }

  @Test func `a notice: status 0; a warning: status 2`() throws {
    let tool = try Tool()
    let path = try tool.folder.file("f", PatternFile.bytes(0..<Self.page))
    let child = try HoldingChild(path, [pgt_hold(0, Self.page)])
    #expect(unlink(path.string) == 0)
    let deleted = try tool.run(["hazards", path.string])
    #expect(deleted.status == 0 && deleted.lines.first?.hasPrefix("notice   deleted        \(child.id) ") == true)
    try tool.folder.file("f", [1])
    let replaced = try tool.run(["hazards", tool.folder.path.string])
    #expect(replaced.status == 2 && replaced.lines.first?.hasPrefix("warning  replaced       \(child.id) ") == true)
    let all = try tool.run(["hazards", "--all", "--json"])
    #expect(all.status == 2)
    let found = try #require(try all.json()["reports"].items.first)["hazards"].items
    #expect(
      found.filter { $0["pid"] == .number("\(child.id)") && $0["path"] == .string(path.string) }.map { $0["kind"] } == [
        .string("replaced")
      ])
  }

  @Test func `what is not there: status 1; wrong usage: status 64`() throws {
    let tool = try Tool()
    let missing = tool.folder.appending("missing").string
    let result = try tool.run(["hazards", missing])
    #expect(result.status == 1 && result.errors.hasPrefix("pagewise: \(missing): cannot stat: there is no such file"))
    let process = try tool.run(["hazards", "--pid", "2147483647"])
    #expect(process.status == 1 && process.errors.contains("no process that runs has this number"), "\(process)")
    for arguments in [
      ["--pid", "0"], ["--pid=-1"], ["--pid", "x"], ["--pid", "99999999999"], ["--pid", "1", "--all"], ["--all", "f"],
      ["--pid", "1", "f"], [""], ["--ignore", "all"], ["--ignore"],
    ] {
      let wrong = try tool.run(["hazards"] + arguments)
      #expect(wrong.status == 64 && wrong.output.isEmpty && !wrong.errors.isEmpty, "\(arguments)")
    }
    let help = try tool.run(["hazards", "--help"])
    #expect(help.status == 0 && help.errors.isEmpty)
    for status in ["  0    ", "  1    ", "  2    ", "  64   ", "  130  "] { #expect(help.output.contains(status)) }
    #expect(help.lines.allSatisfy { $0.count <= 80 || $0.hasPrefix("USAGE: ") })
  }

  @Test(.rootOnly("what another user is told")) func `another user is told that processes could not be read`() throws {
    guard Skips.require(Skips.hasProgram("setpriv"), "another user", install: "apt-get install util-linux") else {
      return
    }
    let tool = try Tool()
    let path = try tool.folder.file("f", PatternFile.bytes(0..<2 * Self.page))
    #expect(chmod(tool.folder.path.string, 0o755) == 0)
    let child = try HoldingChild(path, [pgt_hold(0, 2 * Self.page)])
    #expect(truncate(path.string, 1) == 0)
    let shell = """
      cp "$1" "\(tool.folder.path.string)/tool" && shift
      exec setpriv --reuid 65534 --regid 65534 --clear-groups "\(tool.folder.path.string)/tool" "$@"
      """
    let all = try tool.run(["hazards"], shell: shell)
    guard Skips.require(all.status != 127, "another user", install: "a toolchain that all may read") else { return }
    #expect(all.status == 0 && all.output.contains("could not be read: run as root to see them"), "\(all)")
    let one = try tool.run(["hazards", "--pid", "\(child.id)"], shell: shell)
    #expect(one.status == 1 && one.errors.contains("permission denied"), "\(one)")
  }
}

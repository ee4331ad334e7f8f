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

/// `pagewise who`.
@Suite(.serialized) struct WhoTests {
  static let page = Int64(4096)

  @Test func `a process that maps a file twice and has it open is shown so`() throws {
    let tool = try Tool()
    let path = try tool.folder.file("f", PatternFile.bytes(0..<64 * Self.page))
    #expect(try tool.run(["flush", path.string]).status == 0)
    let child = try HoldingChild(
      path,
      [
        pgt_hold(0, 32 * Self.page, stores: Self.page, writable: true),
        pgt_hold(32 * Self.page, 16 * Self.page, shared: false, locked: true),
      ], opens: Int(PGT_OPEN_READ | PGT_OPEN_READ_WRITE))
    let table = try tool.run(["who", path.string])
    #expect(table.status == 0 && table.errors.isEmpty, "\(table.errors)")
    #expect(table.lines.first == path.string[...])
    #expect(table.output.contains("held by     1 process, mapped twice, 2 open descriptors\n"))
    #expect(table.output.contains("  \(child.id) "))
    #expect(table.output.contains("    mapped twice: 68.0 KiB resident"))
    #expect(table.output.contains("64.0 KiB locked"))
    let at = String(child.addresses[0], radix: 16)
    #expect(table.output.contains("rw-s  bytes 0 to 131,072, at \(at)-"))
    #expect(table.output.contains("r--p  bytes 131,072 to 196,608, at "))
    #expect(table.output.contains("    open as 3 (read), 4 (read and write)\n"))
    let report = try #require(try tool.run(["who", "--json", path.string]).json()["reports"].items.first)
    #expect(report.names == ["kind", "path", "processes", "files", "interrupted"])
    #expect(report["processes"].names == ["seen", "unknown", "hidden", "complete"])
    let memory = [
      "resident_bytes", "proportional_bytes", "private_dirty_bytes", "shared_dirty_bytes", "locked_bytes",
    ]
    let file = try #require(report["files"].items.first)
    #expect(
      file.names == ["path", "size_bytes", "device", "inode", "mappings", "descriptors"] + memory + ["holders"])
    #expect(file["mappings"] == .number("2") && file["resident_bytes"] == .number("69632"))
    let holder = try #require(file["holders"].items.first)
    #expect(holder.names == ["pid", "name", "uid", "cgroup", "mappings", "descriptors"])
    #expect(holder["pid"] == .number("\(child.id)") && holder["mappings"].items.count == 2)
    let mapping = try #require(holder["mappings"].items.first { $0["shared"] == .bool(true) })
    #expect(
      mapping.names == ["addresses", "permissions", "shared", "offset_bytes", "length_bytes"] + memory + ["locked"])
    #expect(mapping["permissions"] == .string("rw-") && mapping["length_bytes"] == .number("131072"))
    #expect(holder["descriptors"].items.map { $0["access"] } == [.string("read"), .string("read_write")])
    #expect(holder["descriptors"].items.first?.names == ["number", "access", "position_bytes"])
  }

  @Test func `a process whose main thread has ended is shown as any other`() throws {
    let tool = try Tool()
    let path = try tool.folder.file("f", PatternFile.bytes(0..<2 * Self.page))
    let child = try HoldingChild(
      path, [pgt_hold(0, 2 * Self.page)], opens: Int(PGT_OPEN_READ), threads: .mainEnded)
    let table = try tool.run(["who", path.string])
    #expect(table.output.contains("held by     1 process, mapped once, 1 open descriptor\n"), "\(table)")
    #expect(table.output.contains("  \(child.id) ") && table.output.contains("    open as 3 (read)\n"))
    #expect(truncate(path.string, 1) == 0)
    let address = String(child.addresses[0] + 4096, radix: 16)
    let explained = try tool.run(["explain", "--pid", "\(child.id)", address])
    #expect(explained.output.contains("  in file     byte 4,096, page 1\n"), "\(explained)")
    let hazards = try tool.run(["hazards", "--pid", "\(child.id)"])
    #expect(hazards.status == 2 && hazards.output.contains(path.string), "\(hazards)")
  }

  @Test func `nobody, folders, lists and paths that fail`() throws {
    let tool = try Tool()
    let path = try tool.folder.file("f", [1])
    let alone = try tool.run(["who", path.string])
    #expect(alone.status == 0 && alone.output.contains("held by     nobody"))
    let held = try tool.folder.file("g", PatternFile.bytes(0..<Self.page))
    let child = try HoldingChild(held, [pgt_hold(0, Self.page)])
    let folder = try tool.run(["who", tool.folder.path.string])
    #expect(folder.status == 0 && folder.output.contains("held        1 file\n"))
    #expect(folder.output.contains("  \(held.string)\n") && folder.output.contains("  \(child.id) "))
    #expect(folder.output.contains("    mapped once: "))
    let missing = tool.folder.appending("missing").string
    let bad = try tool.run(["who", missing, held.string, "/dev/null"])
    #expect(bad.status == 1 && bad.lines.first == held.string[...])
    #expect(
      bad.errors == "pagewise: \(missing): cannot stat: there is no such file. Check the path and its spelling.\n")
    let list = Array("\(held.string)\0\(path.string)\0".utf8)
    let listed = try tool.run(["who", "--json", "-"], input: list)
    #expect(listed.status == 0)
    #expect(try listed.json()["reports"].items.map { $0["path"].text } == [held.string, path.string])
    let full = try tool.run(["who", path.string], shell: "exec \"$@\" >/dev/full")
    #expect(full.status == 1 && full.errors.contains("No space left"))
  }

  @Test func `wrong usage: status 64; help fits 80 columns and names the exit statuses`() throws {
    let tool = try Tool()
    for arguments in [["who"], ["who", ""], ["who", "--bogus", "f"], ["who", "--files0-from", "-", "f"]] {
      let result = try tool.run(arguments)
      #expect(result.status == 64 && result.output.isEmpty && !result.errors.isEmpty, "\(arguments)")
    }
    let help = try tool.run(["who", "--help"])
    #expect(help.status == 0 && help.errors.isEmpty)
    for status in ["  0    ", "  1    ", "  64   ", "  130  ", "EXAMPLES:"] { #expect(help.output.contains(status)) }
    #expect(help.lines.allSatisfy { $0.count <= 80 || $0.hasPrefix("USAGE: ") })
  }

  @Test(.rootOnly("what another user is told")) func `processes that could not be read are counted, and it is said`()
    throws
  {
    guard Skips.require(Skips.hasProgram("setpriv"), "another user", install: "apt-get install util-linux") else {
      return
    }
    let tool = try Tool()
    let path = try tool.folder.file("f", PatternFile.bytes(0..<Self.page))
    #expect(chmod(path.string, 0o644) == 0 && chmod(tool.folder.path.string, 0o755) == 0)
    let child = try HoldingChild(path, [pgt_hold(0, Self.page)])
    let shell = """
      cp "$1" "\(tool.folder.path.string)/tool" && shift
      exec setpriv --reuid 65534 --regid 65534 --clear-groups "\(tool.folder.path.string)/tool" "$@"
      """
    let table = try tool.run(["who", path.string], shell: shell)
    guard Skips.require(table.status != 127, "another user", install: "a toolchain that all may read") else { return }
    #expect(table.status == 0 && table.errors.isEmpty, "\(table)")
    #expect(table.output.contains("held by     nobody that could be seen"))
    #expect(!table.output.contains("  \(child.id) "))
    #expect(table.output.contains("could not be read: run as root to see them"))
    let report = try #require(try tool.run(["who", "--json", path.string], shell: shell).json()["reports"].items.first)
    #expect(report["processes"]["complete"] == .bool(false))
    #expect((report["processes"]["unknown"].number ?? 0) >= 2)
    // A /proc that shows no one else's processes, or none of what is in them.
    for (option, isHidden) in [("1", false), ("2", true)] {
      let mount = "mount -t proc -o hidepid=\(option) proc /proc || exit 99"
      let inner = """
        cp "$1" "\(tool.folder.path.string)/tool" && shift
        exec unshare -m sh -c '\(mount); exec setpriv --reuid 65534 --regid 65534 --clear-groups "$@"' sh \
          "\(tool.folder.path.string)/tool" "$@"
        """
      let hidden = try tool.run(["who", "--json", path.string], shell: inner)
      guard Skips.require(hidden.status != 99, "hidepid", install: "the right to mount") else { continue }
      #expect(hidden.status == 0, "\(hidden)")
      let processes = try #require(try hidden.json()["reports"].items.first)["processes"]
      #expect(processes["hidden"] == .bool(isHidden) && processes["complete"] == .bool(false))
      if !isHidden { #expect((processes["unknown"].number ?? 0) >= 2) }
    }
  }
}

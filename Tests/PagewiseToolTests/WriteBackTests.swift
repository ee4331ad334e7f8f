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

/// `pagewise dirty` and `pagewise flush`.
@Suite(.serialized) struct WriteBackTests {
  static let bytes = [
    "waiting_bytes", "write_back_bytes", "complete", "known_files", "not_permitted_files", "not_known_files",
  ]

  @Test func `what was written is dirty until it is flushed`() throws {
    let tool = try Tool()
    let path = try tool.folder.file("f", PatternFile.bytes(0..<300_000))
    let first = try #require(try tool.run(["dirty", "--json", path.string]).json()["reports"].items.first)
    #expect(
      first.names == ["kind", "path", "file_system", "size_bytes", "dirty", "dirty_files", "largest", "interrupted"])
    #expect(first["dirty"].names == Self.bytes && first["size_bytes"] == .number("300000"))
    guard Skips.require(first["dirty"]["complete"] == .bool(true), "dirty bytes", install: "Linux 6.5 or later"),
      Skips.require(first["file_system"] != .string("tmpfs"), "dirty bytes", install: "a TMPDIR on a disk")
    else { return }
    let waiting = try #require(first["dirty"]["waiting_bytes"].number)
    let inWriteBack = try #require(first["dirty"]["write_back_bytes"].number)
    #expect(waiting + inWriteBack >= 300_000)
    let flushed = try tool.run(["flush", "--json", path.string])
    #expect(flushed.status == 0 && flushed.errors.isEmpty)
    let report = try #require(try flushed.json()["reports"].items.first)
    #expect(
      report.names == [
        "kind", "path", "level", "file_system", "in_memory_only", "flushed_files", "flushed_folders", "dirty_before",
        "dirty_after", "elapsed_ns", "interrupted",
      ])
    #expect(report["dirty_after"]["waiting_bytes"] == .number("0") && report["level"] == .string("data"))
    let table = try tool.run(["dirty", path.string])
    #expect(table.status == 0 && table.output.contains("waiting     0 B\n"))
    #expect(try PatternFile.read(path, 0..<300_000) == PatternFile.bytes(0..<300_000))
  }

  @Test func `folders are summed and flushed; links are not followed; the largest are named`() throws {
    let tool = try Tool()
    #expect(mkdir(tool.folder.appending("sub").string, 0o755) == 0)
    for number in 1...4 { try tool.folder.file("sub/f\(number)", PatternFile.bytes(0..<Int64(number * 50_000))) }
    #expect(symlink("/", tool.folder.appending("sub/root").string) == 0)
    let folder = tool.folder.path.string
    let result = try tool.run(["dirty", "--json", "--top", "2", folder])
    #expect(result.status == 0)
    let report = try #require(try result.json()["reports"].items.first)
    #expect(report["kind"] == .string("folder") && report["walk"]["files"] == .number("4"))
    #expect(report["walk"]["links_not_followed"] == .number("1"))
    if report["dirty"]["complete"] == .bool(true), report["file_system"] != .string("tmpfs") {
      #expect(report["largest"].items.map { $0["path"].text ?? "" } == [4, 3].map { "\(folder)/sub/f\($0)" })
      #expect(report["largest"].items.first?.names == ["path", "size_bytes", "waiting_bytes", "write_back_bytes"])
      let table = try tool.run(["dirty", "--top", "2", folder])
      #expect(table.output.contains("in whole folios") && table.output.contains("and 2 more; see --top"))
    }
    let flushed = try tool.run(["flush", "--level", "device", "-x", folder])
    #expect(flushed.status == 0 && flushed.output.contains("4 files, the names in 2 folders"))
    let queued = try #require(
      try tool.run(["flush", "--level", "queued", "--json", folder]).json()["reports"].items.first)
    #expect(queued["flushed_folders"] == .number("0") && queued["flushed_files"] == .number("4"))
    let names = try tool.run(["flush", "--names", folder + "/sub/f1"])
    #expect(names.status == 0 && names.output.contains("the names in 1 folder"))
  }

  @Test func `paths that fail: status 1, a sentence for each, and the others are done`() throws {
    let tool = try Tool()
    let good = try tool.folder.file("good", [1, 2, 3])
    let fifo = tool.folder.appending("fifo")
    #expect(fifo.withPlatformString { pgt_make_fifo($0) } == 0)
    let bad = [fifo.string, tool.folder.appending("missing").string, "/dev/zero", good.string + "/below"]
    for verb in ["dirty", "flush"] {
      let result = try withWatchdog("bad paths") { try tool.run([verb] + bad + [good.string], seconds: 20) }
      #expect(result.status == 1 && result.lines.first == good.string[...])
      let sentences = result.errors.split(separator: "\n")
      #expect(sentences.count == bad.count)
      for (sentence, path) in zip(sentences, bad) {
        #expect(sentence.hasPrefix("pagewise: \(path): cannot ") && sentence.hasSuffix("."), "\(sentence)")
      }
    }
  }

  @Test func `wrong usage: status 64; help fits 80 columns and names the exit statuses`() throws {
    let tool = try Tool()
    withEvery(
      "arguments",
      in: [
        ["dirty"], ["flush"], ["verify"], ["flush", "--level", "most", "f"], ["dirty", "--top=-1", "f"],
        ["dirty", "--top", "x", "f"], ["flush", ""], ["verify", "--files0-from", "-", "f"],
        ["dirty", "--files0-from", "/nonexistent"],
      ]
    ) { arguments in
      let result = try tool.run(arguments)
      check(result.status == 64 && result.output.isEmpty && !result.errors.isEmpty, "\(result)")
    }
    for verb in ["flush", "dirty", "verify", "append"] {
      let help = try tool.run([verb, "--help"])
      #expect(help.status == 0 && help.errors.isEmpty)
      for status in ["  0    ", "  1    ", "  64   ", "  130  ", "EXAMPLES:"] { #expect(help.output.contains(status)) }
      #expect(help.lines.allSatisfy { $0.count <= 80 || $0.hasPrefix("USAGE: ") })
    }
  }

  @Test func `lists, names of any bytes, a full output and a reader that goes away`() throws {
    let tool = try Tool()
    let path = tool.folder.path.appending(
      FilePath.Component(platformString: [0x61, 0x0A, 0xFF].map { CChar(bitPattern: $0) } + [0])!)
    _ = try PatternFile(path, size: 10)
    let list = Array(tool.folder.path.string.utf8) + [0x2F, 0x61, 0x0A, 0xFF, 0]
    for verb in ["dirty", "flush"] {
      let table = try tool.run([verb, "-"], input: list)
      #expect(table.status == 0 && table.lines.first == "\(tool.folder.path.string)/a\\n\\xff"[...])
      let report = try tool.run([verb, "--json", "--files0-from", "-"], input: list).json()["reports"].items.first
      #expect(report?["path_hex"].text?.hasSuffix("610aff") == true)
      let full = try tool.run([verb, "-"], shell: "exec \"$@\" >/dev/full", input: list)
      #expect(full.status == 1 && full.errors.contains("No space left"))
      let gone = try tool.run(
        [verb, "-"], shell: "{ \"$@\"; echo $? >&2; } | head -c 1",
        input: Array(repeatElement(list, count: 2000).joined()))
      #expect(gone.errors == "141\n" || gone.errors == "0\n", "\(gone.errors)")
    }
  }

  @Test(.rootOnly("what another user is told")) func `what the kernel hides is not permitted to know, and never 0`()
    throws
  {
    guard Skips.require(Skips.hasProgram("setpriv"), "another user", install: "apt-get install util-linux") else {
      return
    }
    let tool = try Tool()
    for name in ["one", "two"] {
      let path = try tool.folder.file(name, PatternFile.bytes(0..<5000))
      #expect(chmod(path.string, 0o644) == 0)
    }
    #expect(chmod(tool.folder.path.string, 0o755) == 0)
    let shell = """
      cp "$1" "\(tool.folder.path.string)/tool" && shift
      exec setpriv --reuid 65534 --regid 65534 --clear-groups "\(tool.folder.path.string)/tool" "$@"
      """
    let path = tool.folder.appending("one").string
    let result = try tool.run(["dirty", path], shell: shell)
    guard Skips.require(result.status != 127, "another user", install: "a toolchain that all may read") else { return }
    #expect(result.status == 0 && result.output.contains("waiting     not permitted to know"), "\(result)")
    let json = try #require(try tool.run(["dirty", "--json", path], shell: shell).json()["reports"].items.first)
    #expect(json["dirty"]["waiting_bytes"] == .null && json["dirty"]["not_permitted_files"] == .number("1"))
    // The right to read is enough to flush.
    let flushed = try tool.run(["flush", path], shell: shell)
    #expect(flushed.status == 0 && flushed.output.contains("1 file"), "\(flushed)")
  }

  @Test(.rootOnly("a device that fails")) func `a failed sync: status 1, and the sentence that it is final`() throws {
    guard Skips.require(Skips.hasProgram("mkfs.ext4"), "a failing device", install: "apt-get install e2fsprogs") else {
      return
    }
    let tool = try Tool()
    // The device is a sparse file where there is no room for it.
    let room = try MountedImage(tmpfs: 5 << 20)
    let image = try MountedImage(.ext4, in: room.path)
    let path = image.appending("f")
    _ = try PatternFile(path, size: 10 << 20)
    let result = try tool.run(["flush", path.string])
    #expect(result.status == 1 && result.errors.contains("a failed sync is final"), "\(result)")
    #expect(result.errors.split(separator: "\n").count == 1)
  }
}

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

/// `pagewise residency`, `warm`, `evict` and `lock`, beside the tools that others use.
@Suite(.serialized, .undisturbed) struct CacheTests {
  static let page = Int64(4096)

  /// Files with random pages in memory and nothing dirty.
  static func scene(_ tool: borrowing Tool, files: Int, seed: UInt64) throws -> [(path: FilePath, resident: Int)] {
    var random = Random(seed: seed)
    let sizes = (0..<files).map { _ in Int64(random.below(300) * 4096 + random.below(4096)) }
    var paths: [FilePath] = []
    for (number, size) in sizes.enumerated() {
      paths.append(try tool.folder.file("f\(number)", PatternFile.bytes(0..<size)))
    }
    #expect(try tool.run(["evict", "--plain"] + paths.map(\.string)).status == 0)
    return try zip(paths, sizes).map { path, size in
      let file = try FileDescriptor.open(path, .readOnly)
      defer { try? file.close() }
      posix_fadvise(file.rawValue, 0, 0, POSIX_FADV_RANDOM)
      var resident = 0
      let odds = random.below(10)
      for page in 0..<(size + 4095) / 4096 where random.below(10) < odds {
        var byte: UInt8 = 0
        #expect(pread(file.rawValue, &byte, 1, Int(page) * 4096) == 1)
        resident += 1
      }
      return (path, resident)
    }
  }

  /// False where the page cache cannot be asked.
  static func isPossible(_ tool: borrowing Tool) throws -> Bool {
    let path = try tool.folder.file("probe", [1])
    let json = try tool.run(["residency", "--json", path.string]).json()["reports"].items.first
    return Skips.require(json?["cache"]["evicted_pages"] != .null, "the page cache", install: "Linux 6.5")
      && Skips.require(json?["file_system"] != .string("tmpfs"), "the page cache", install: "a TMPDIR on a disk")
  }

  @Test func `random patterns: as the test made them, and row for row as fincore and vmtouch have them`() throws {
    let tool = try Tool()
    guard try Self.isPossible(tool) else { return }
    let scene = try Self.scene(tool, files: 25, seed: 11)
    let names = scene.map(\.path.string)
    let rows = try tool.run(["residency", "-o", "PAGES,FILE", "--raw", "-n"] + names)
    #expect(rows.status == 0 && rows.errors.isEmpty)
    // Where memory is short the kernel takes pages away meanwhile, and remembers it.
    let evicted = try tool.run(["residency", "-o", "EVICTED", "--raw", "-n"] + names)
    guard Skips.require(evicted.lines.allSatisfy { $0 == "0" }, "exact patterns", install: "more free memory") else {
      return
    }
    #expect(rows.lines == scene.map { "\($0.resident) \($0.path.string)" }.map { $0[...] })
    if Skips.require(Skips.hasProgram("fincore"), "fincore", install: "apt-get install util-linux-extra") {
      let arguments = ["-o", "RES,PAGES,SIZE,FILE", "-b"]
      let theirs = try tool.run(names, shell: "shift; exec fincore -r \(arguments.joined(separator: " ")) \"$@\"")
      let ours = try tool.run(["residency", "--raw"] + arguments + names)
      #expect(theirs.status == 0 && !theirs.output.isEmpty)
      // Versions before 2.39 leave out empty files.
      #expect(ours.lines.filter { !$0.contains(" 0 /") } == theirs.lines.filter { !$0.contains(" 0 /") })
    }
    if Skips.require(Skips.hasProgram("vmtouch"), "vmtouch", install: "apt-get install vmtouch") {
      for (path, resident) in scene {
        let theirs = try tool.run([path.string], shell: "shift; exec vmtouch \"$@\"")
        #expect(theirs.output.contains("Resident Pages: \(resident)/"), "\(theirs.output)")
      }
      let all = try tool.run([tool.folder.path.string], shell: "shift; exec vmtouch \"$@\"")
      let folder = try tool.run(["residency", "--json", tool.folder.path.string]).json()["reports"].items.first
      guard case .number(let pages)? = folder?["cache"]["resident_pages"] else {
        Issue.record("no number")
        return
      }
      #expect(all.output.contains("Resident Pages: \(pages)/"), "\(all.output)")
    }
  }

  @Test(.rootOnly("what another user is told")) func `what the kernel hides is not permitted, where others say 100 %`()
    throws
  {
    guard Skips.require(Skips.hasProgram("setpriv"), "another user", install: "apt-get install util-linux") else {
      return
    }
    let tool = try Tool()
    guard try Self.isPossible(tool) else { return }
    let path = try tool.folder.file("f", PatternFile.bytes(0..<64 * Self.page))
    #expect(chmod(tool.folder.path.string, 0o755) == 0 && chmod(path.string, 0o644) == 0)
    #expect(try tool.run(["evict", path.string]).status == 0)
    let other = """
      cp "$1" "\(tool.folder.path.string)/tool" && shift
      exec setpriv --reuid 65534 --regid 65534 --clear-groups "\(tool.folder.path.string)/tool" "$@"
      """
    let table = try tool.run(["residency", path.string], shell: other)
    guard Skips.require(table.status != 127, "another user", install: "a toolchain that all may read") else { return }
    #expect(table.status == 0 && table.output.contains("  resident    not permitted to know\n"))
    #expect(!table.output.contains("%"))
    let rows = try tool.run(["residency", "-o", "RES,DIRTY,SHARE,SIZE,FILE", "--raw", "-n", path.string], shell: other)
    #expect(rows.output == "not-permitted not-permitted not-permitted 262144 \(path.string)\n")
    let json = try tool.run(["residency", "--json", path.string], shell: other).json()["reports"].items.first
    #expect(json?["cache"]["resident_pages"] == .null && json?["cache"]["not_permitted_files"] == .number("1"))
    let folder = try tool.run(["residency", "-x", "-g", "f", tool.folder.path.string], shell: other)
    #expect(folder.output.contains("not permitted") && !folder.output.contains("100 %"))
    let total = try tool.run(["residency", "-c", "--raw", "-o", "RES,FILE", "-n", path.string], shell: other)
    #expect(total.lines.last == "not-permitted total-without-1-not-known")
    let evicted = try tool.run(["evict", path.string], shell: other)
    #expect(evicted.status == 2 && evicted.output.contains("after       not permitted to know"))
    let metrics = try tool.run(["residency", "--openmetrics", path.string], shell: other)
    #expect(!metrics.output.contains("resident_bytes"))
    #expect(metrics.output.contains("state=\"not_permitted\"} 1"))
    if Skips.hasProgram("vmtouch") {
      // The rival asks mincore, which says that all is there.
      let theirs = try tool.run(
        [path.string], shell: "shift; exec setpriv --reuid 65534 --regid 65534 --clear-groups vmtouch \"$@\"")
      #expect(theirs.output.contains("64/64"))
    }
    // Nothing was loaded by asking.
    #expect(try tool.run(["residency", "--raw", "-n", path.string]).output.hasPrefix("0 0 262144 "))
  }

  @Test func `rows have the columns that are asked for, names on one line, and a total`() throws {
    let tool = try Tool()
    guard try Self.isPossible(tool) else { return }
    let odd = try tool.folder.file("a b\\\n\u{e9}", PatternFile.bytes(0..<5000))
    let rows = try tool.run(["residency", "-o", "size,total_pages,file", "--raw", "-c", odd.string])
    let name = tool.folder.path.string + "/a\\x20b\\x5c\\x0a\\xc3\\xa9"
    #expect(rows.lines == ["SIZE TOTAL_PAGES FILE", "5000 2 \(name)"[...], "5000 2 total"])
    let padded = try tool.run(["residency", "-o", "FILE,SIZE", "-n", odd.string])
    #expect(padded.lines.count == 1 && padded.output.contains("a b\\\\\\n") && padded.output.contains("4.88KiB"))
    let all = try tool.run(["residency", "-o", "all", "--raw", odd.string])
    #expect(all.lines.count == 2 && all.lines[0].split(separator: " ").count == 17)
    #expect(all.lines[1].split(separator: " ").count == 17)
    #expect(try tool.run(["residency", "-o", "+DIRTY", "--raw", odd.string]).lines[0] == "RES PAGES SIZE FILE DIRTY")
    // A row for every file of a folder; only the first ones with --top.
    for number in 0..<30 { try tool.folder.file("n\(number)", PatternFile.bytes(0..<Int64(number + 1) * 4096)) }
    #expect(try tool.run(["residency", "-o", "SIZE", "-n", tool.folder.path.string]).lines.count == 32)
    let top = try tool.run(
      ["residency", "-o", "SIZE", "-n", "-b", "--top", "2", "--sort", "size", tool.folder.path.string])
    #expect(top.lines.map { $0.trimmingPrefix { $0 == " " } } == ["122880", "118784"])
    let sorted = try tool.run(["residency", "-o", "SIZE", "-n", "--sort", "size", tool.folder.path.string])
    #expect(sorted.lines.count == 32)
    for column in ["RANGES", "PER_FAULT"] {
      #expect(try tool.run(["residency", "-o", "SIZE,\(column)", "-n", tool.folder.path.string]).lines.count == 32)
    }
    let list = try tool.run(
      ["residency", "-o", "SIZE", "--raw", "-n", "-"], input: Array((odd.string + "\0").utf8))
    #expect(list.output == "5000\n")
  }

  @Test func `wrong usage: status 64`() throws {
    let tool = try Tool()
    withEvery(
      "arguments",
      in: [
        (["residency"], "PATH"), (["residency", "-o", "NONE", "f"], "NONE"),
        (["residency", "--top", "x", "f"], "--top"),
        (["residency", "--sort", "x", "f"], "--sort"), (["residency", "--watch", "0", "f"], "--watch"),
        (["residency", "--watch", "nan", "f"], "--watch"), (["residency", "--count", "2", "f"], "--watch"),
        (["residency", "--json", "--raw", "f"], "one of"), (["residency", "--into", "x", "f"], "--openmetrics"),
        (["residency", "-n", "f"], "--raw"), (["residency", "--ranges", "--raw", "f"], "--ranges"),
        (["warm", "--range", "5..1", "f"], "--range"), (["warm", "--range", "x", "f"], "--range"),
        (["warm", "--save", "l", "--replay", "f"], "not both"), (["warm", "--method", "x", "f"], "--method"),
        (["warm", "--budget", "x", "f"], "no size"), (["warm", "--window", "1", "f"], "--window"),
        (["warm", "--replay", "--range", "0..1", "f"], "--range"), (["evict"], "PATH"), (["lock"], "PATH"),
        (["lock", "--seconds=-1", "f"], "--seconds"), (["evict", "--range", "1..x", "f"], "--range"),
        (["warm", "-g", "", "f"], "-g"),
      ] as [([String], String)]
    ) { arguments, word in
      let result = try tool.run(arguments)
      check(result.status == 64, "status \(result.status)")
      check(result.output.isEmpty, result.output)
      check(result.errors.contains(word), result.errors)
    }
  }

  @Test func `help fits 80 columns and names the exit statuses`() throws {
    let tool = try Tool()
    for command in ["residency", "warm", "evict", "lock"] {
      let result = try tool.run([command, "--help"])
      #expect(result.status == 0 && result.errors.isEmpty)
      for status in ["  0    ", "  1    ", "  64   ", "  130  "] { #expect(result.output.contains(status)) }
      for line in result.lines where line.count > 80 && !line.hasPrefix("USAGE: ") {
        Issue.record("\(command): \(line)")
      }
    }
  }

  @Test func `paths that overlap are counted once, and summed`() throws {
    let tool = try Tool()
    let path = try tool.folder.file("f", PatternFile.bytes(0..<3 * Self.page))
    let json = try tool.run(["residency", "--json", path.string, tool.folder.path.string, path.string]).json()
    let reports = json["reports"].items
    #expect(reports.map { $0["kind"] } == [.string("file"), .string("folder"), .string("file"), .string("total")])
    #expect(reports.last?["size_bytes"] == .number("12288") && reports.last?["files"] == .number("1"))
    #expect(reports[1]["walk"]["files_counted_before"] == .number("1"))
    #expect(reports[2]["files"].items.first?["size_bytes"] == .number("12288"))
    let table = try tool.run(["residency", path.string, tool.folder.path.string])
    #expect(table.output.contains("total of 2 paths") && table.output.contains("1 file counted under an earlier path"))
  }

  @Test func `a table shows ranges, and each look its change`() throws {
    let tool = try Tool()
    guard try Self.isPossible(tool) else { return }
    let path = try tool.folder.file("f", PatternFile.bytes(0..<64 * Self.page))
    #expect(try tool.run(["evict", path.string]).status == 0)
    #expect(try tool.run(["warm", "--range", "16K..32K", path.string]).status == 0)
    let table = try tool.run(["residency", "--ranges", path.string])
    #expect(table.output.contains("  resident    16.0 KiB (16,384 bytes), 6.3 % of 256 KiB\n"), "\(table.output)")
    #expect(table.output.contains("  ranges      [....####........................................................]\n"))
    #expect(table.output.contains("16,384 ..< 32,768"))
    #expect(table.lines.allSatisfy { $0.utf8.count <= 100 && $0.utf8.allSatisfy { $0 < 0x80 } })
    let json = try tool.run(["residency", "--ranges", "--json", path.string]).json()["reports"].items.first
    let ranges = json?["files"].items.first?["resident_ranges_bytes"].items.map(\.items)
    #expect(ranges == [[.number("16384"), .number("32768")]])
    let looks = try tool.run(["residency", "--watch", "0.1", "--count", "2", path.string])
    #expect(looks.status == 0)
    #expect(looks.lines.count { $0.hasPrefix("  resident ") } == 2 && looks.output.contains("; unchanged\n"))
    #expect(!looks.output.contains("\u{1B}"))
  }

  @Test func `metrics are OpenMetrics text, families whole, and a file is replaced at once`() throws {
    let tool = try Tool()
    guard try Self.isPossible(tool) else { return }
    let path = try tool.folder.file("a\"b\\c\nd", PatternFile.bytes(0..<2 * Self.page))
    let other = try tool.folder.file("plain", [1])
    let target = tool.folder.appending("cache.prom")
    let result = try tool.run(
      ["residency", "--openmetrics", "--into", target.string, path.string, other.string, "/nonexistent"])
    #expect(result.status == 1 && result.output.isEmpty)
    let text = ProcessView.text(target)
    #expect(text == (try tool.run(["residency", "--openmetrics", path.string, other.string, "/nonexistent"])).output)
    var families: [String] = []
    for line in text.split(separator: "\n") {
      if line.hasPrefix("# TYPE ") {
        families.append(String(line.split(separator: " ")[2]))
        continue
      }
      if line.hasPrefix("#") { continue }
      // A sample: of the family that was begun last, a label, a number.
      #expect(line.hasPrefix(families.last! + "{path=\""), "\(line)")
      #expect(Int64(line.split(separator: " ").last!) != nil, "\(line)")
    }
    #expect(Set(families).count == families.count && families.count >= 8 && text.hasSuffix("\n# EOF\n"))
    let label = tool.folder.path.string + "/a\\\"b\\\\c\\nd"
    #expect(text.contains("pagewise_file_cache_resident_bytes{path=\"\(label)\"} 8192\n"))
    #expect(text.contains("pagewise_file_cache_up{path=\"/nonexistent\"} 0\n"))
    var mode = stat()
    #expect(stat(target.string, &mode) == 0 && mode.st_mode & 0o777 == 0o644)
  }

  @Test func `warm, save, evict and replay: what was hot is hot again`() throws {
    let tool = try Tool()
    guard try Self.isPossible(tool) else { return }
    let path = try tool.folder.file("f", PatternFile.bytes(0..<256 * Self.page))
    #expect(try tool.run(["evict", path.string]).status == 0)
    let warm = try tool.run(["warm", "--json", "--range", "64K..128K", path.string])
    let report = try #require(try warm.json()["reports"].items.first)
    #expect(warm.status == 0 && report["warmed_bytes"] == .number("65536") && report["skipped_bytes"] == .number("0"))
    #expect(report["cache_after"]["resident_share"] == .number("1.0"))
    let list = tool.folder.appending("hot.list").string
    let saved = try tool.run(["warm", "--save", list, path.string])
    #expect(saved.status == 0 && saved.output.contains("1 file with something in memory, 64.0 KiB in 1 range"))
    #expect(try tool.run(["evict", path.string]).status == 0)
    let replayed = try tool.run(["warm", "--replay", list])
    #expect(replayed.status == 0 && replayed.output.contains("list        1 file, 64.0 KiB in ranges"))
    #expect(try tool.run(["residency", "--raw", "-n", "-o", "RES", path.string]).output == "65536\n")
    try tool.folder.file("hot.list", Array("pagewise hot ranges 1\nx\n".utf8))
    let bad = try tool.run(["warm", "--replay", list])
    #expect(bad.status == 1 && bad.errors.contains("line 2"))
    let made = try tool.run(["warm", "/sys/kernel/vmcoreinfo"])
    #expect(
      made.status == 1
        && (made.errors.contains("there is nothing to keep in memory") || made.errors.contains("no such file")))
    let over = try tool.run(["warm", "--budget", "0", path.string])
    #expect(over.status == 0 && over.output.contains("used up, the rest is not warm"))
  }

  @Test func `where a window cannot be mapped it is read, and the refusal is counted`() throws {
    let tool = try Tool()
    guard try Self.isPossible(tool) else { return }
    let path = try tool.folder.file("f", [])
    #expect(truncate(path.string, 1 << 30) == 0)
    // Holes are loaded, so that nothing has to be written: 64 MiB of them, in a window of 1 GiB.
    let shell = "ulimit -v 900000; exec \"$@\""
    let result = try tool.run(
      ["warm", "--json", "--holes", "--window", "1G", "--budget", "8G", path.string], shell: shell)
    let report = try #require(try result.json()["reports"].items.first)
    #expect(result.status == 0 && report["refused_requests"] == .number("1"), "\(result.errors)")
    #expect(report["first_refusal_errno"] == .number("12") && report["warmed_bytes"] == .number("\(1 << 30)"))
    #expect(report["failed_bytes"] == .number("0"))
    #expect(try tool.run(["evict", path.string]).status == 0)
  }

  @Test func `evict tells what stayed with status 2, and who holds it`() throws {
    let tool = try Tool()
    guard try Self.isPossible(tool) else { return }
    let path = try tool.folder.file("f", PatternFile.bytes(0..<16 * Self.page))
    let child = try HoldingChild(
      path, [pgt_hold(0, 4 * Self.page, locked: true), pgt_hold(0, 4 * Self.page, locked: true)])
    let table = try tool.run(["evict", path.string])
    #expect(table.status == 2 && table.errors.isEmpty)
    #expect(table.output.contains("synced      1 dirty file\n"))
    #expect(table.output.contains("mapped twice, by 1 process, "), "\(table.output)")
    #expect(
      table.output.contains("PID \(child.id) ") && table.output.contains(" maps it twice, 32.0 KiB in its page table"))
    let report = try #require(try tool.run(["evict", "--json", path.string]).json()["reports"].items.first)
    let stayed = try #require(report["stayed"].items.first)
    #expect(report["stayed_files"] == .number("1") && report["cache_after"]["resident_pages"] != .number("0"))
    #expect(stayed["reasons"].items.map { $0["code"] } == [.string("mapped")])
    #expect(stayed["holders"].items.map { $0["process"] } == [.number("\(child.id)")])
    #expect(stayed["holders"].items.first?["mappings"] == .number("2"))
    let dirty = try tool.folder.file("dirty", PatternFile.bytes(0..<Self.page))
    let left = try tool.run(["evict", "--no-sync", dirty.string])
    #expect(left.status == 2 && left.output.contains("1 dirty file, by --no-sync"))
    #expect(try tool.run(["evict", dirty.string]).status == 0)
    #expect(try tool.run(["evict", "/nonexistent", dirty.string]).status == 1)
  }

  @Test func `lock keeps files until it is ended, then they can be evicted`() throws {
    let tool = try Tool()
    guard try Self.isPossible(tool) else { return }
    let path = try tool.folder.file("f", PatternFile.bytes(0..<16 * Self.page))
    let report = tool.folder.appending("report").string
    var child = try RunningChild([
      "sh", "-c", "exec \"$1\" lock \"$2\" >\"$3\"", "sh", try Tool.path(), path.string, report,
    ])
    withWatchdog("lock", seconds: 60) {
      while !ProcessView.text(FilePath(report)).hasSuffix("\n\n") { pgt_sleep_us(2000) }
      #expect(ProcessView.text(FilePath(report)).contains("locked      1 file, 64.0 KiB (65,536 bytes)\n"))
      #expect((try? tool.run(["evict", path.string]).status) == 2)
      child.terminate()
      #expect(child.wait(seconds: 30) == 0)
      #expect((try? tool.run(["evict", path.string]).status) == 0)
    }
    #expect(try tool.run(["lock", "--seconds", "0", path.string]).status == 0)
    #expect(try tool.run(["lock", "--seconds", "0", path.string, "/nonexistent"]).status == 1)
  }

  @Test(.rootOnly("a user with a limit")) func `the limit of locked memory is explained`() throws {
    guard Skips.require(Skips.hasProgram("setpriv"), "another user", install: "apt-get install util-linux") else {
      return
    }
    let tool = try Tool()
    let path = try tool.folder.file("f", PatternFile.bytes(0..<64 * Self.page))
    #expect(chmod(tool.folder.path.string, 0o755) == 0 && chmod(path.string, 0o644) == 0)
    let shell = """
      cp "$1" "\(tool.folder.path.string)/tool" && shift
      ulimit -l 64
      exec setpriv --reuid 65534 --regid 65534 --clear-groups "\(tool.folder.path.string)/tool" "$@"
      """
    let result = try tool.run(["lock", "--seconds", "0", path.string], shell: shell)
    guard Skips.require(result.status != 127, "another user", install: "a toolchain that all may read") else { return }
    #expect(result.status == 1 && result.output.isEmpty)
    for word in ["RLIMIT_MEMLOCK allows 65536 bytes", "262144 are wanted", "LimitMEMLOCK", "ulimit -l"] {
      #expect(result.errors.contains(word), "\(result.errors)")
    }
  }
}

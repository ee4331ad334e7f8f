// SPDX-License-Identifier: Apache-2.0

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

/// What programs read: names that stay, and numbers that agree with each other.
@Suite(.serialized) struct JSONTests {
  static let file = [
    "size_bytes", "type", "file_system", "resident_pages", "resident_exact", "pages", "dirty_pages", "page_size_bytes",
    "pages_per_fault", "read_ahead_bytes", "allocated_bytes", "memory_room_bytes", "writers", "hole_count",
    "hole_bytes",
    "modified_seconds_ago", "hazards",
  ]
  static let row = [
    "access", "count", "read_size_bytes", "strategies", "best", "best_median_ns", "chosen", "chosen_median_ns",
    "chosen_measured", "chosen_call", "chosen_because", "regret",
  ]
  static let cell = ["median_ns", "fastest_ns", "slowest_ns", "rounds", "extrapolated", "method"]
  static let sizeClass = [
    "upper_bound_bytes", "files", "bytes", "would_map", "would_read", "sparse_files", "hole_bytes",
    "sample_resident_fraction", "sample_files", "sample_bytes", "row",
  ]

  /// A row's figures against each other.
  private func checkRow(_ row: JSON, isPass: Bool) throws {
    #expect(row.names == Self.row)
    let strategies = row["strategies"]
    let expected = isPass ? ["map", "map_populate", "read", "stream"] : ["map", "map_populate", "read"]
    #expect(strategies.names == expected)
    var least = Double.infinity
    for name in strategies.names {
      #expect(strategies[name].names == Self.cell)
      let median = try #require(strategies[name]["median_ns"].number)
      let fastest = try #require(strategies[name]["fastest_ns"].number)
      let slowest = try #require(strategies[name]["slowest_ns"].number)
      #expect(fastest <= median && median <= slowest)
      #expect(try #require(strategies[name]["rounds"].number) >= 1)
      least = min(least, median)
    }
    let best = try #require(row["best"].text)
    #expect(row["best_median_ns"].number == least && strategies[best]["median_ns"].number == least)
    let chosen = try #require(row["chosen"].text)
    #expect(["map", "map_populate", "read", "stream"].contains(chosen))
    let time = try #require(row["chosen_median_ns"].number)
    #expect(row["regret"].number == time / least)
    #expect(row["chosen_call"].text?.hasPrefix("FileBytes(path, access: .") == true)
  }

  @Test func `the names of a file's report are these, in this order`() throws {
    let tool = try Tool()
    let path = try tool.folder.file("f", PatternFile.bytes(0..<10_000))
    let result = try tool.advise("--json", path.string)
    #expect(result.status == 0 && result.errors.isEmpty && result.output.hasSuffix("}\n"))
    let value = try result.json()
    #expect(value.names == ["pagewise", "format", "reports", "errors", "interrupted"])
    #expect(value["format"] == .number("1") && value["errors"] == .array([]) && value["interrupted"] == .bool(false))
    let report = try #require(value["reports"].items.first)
    #expect(report.names == ["kind", "path", "file", "measuring", "rows", "advice"])
    #expect(report["kind"] == .string("file") && report["path"] == .string(path.string))
    #expect(report["file"].names == Self.file)
    #expect(report["file"]["size_bytes"] == .number("10000") && report["file"]["pages"].isNumber)
    #expect(report["file"]["writers"] == .string("none") && report["file"]["type"] == .string("regular"))
    #expect(
      report["measuring"].names == [
        "cold", "evictions", "stayed_pages", "window_bytes", "seconds", "verified_equal_bytes", "interrupted",
      ])
    let rows = report["rows"].items
    #expect(
      rows.map { $0["access"].text ?? "" } == [
        "whole_once", "sequential", "random_4k_few", "random_4k_many", "random_bytes_few", "random_bytes_many",
        "open_read_close",
      ])
    for (index, row) in rows.enumerated() { try checkRow(row, isPass: [0, 1, 6].contains(index)) }
    #expect(report["advice"].text?.isEmpty == false)
  }

  @Test func `the names of a folder's report are these, in this order`() throws {
    let tool = try Tool()
    try tool.folder.file("small", [1, 2, 3])
    try tool.folder.file("larger", PatternFile.bytes(0..<50_000))
    let report = try #require(try tool.advise("--json", tool.folder.path.string).json()["reports"].items.first)
    #expect(report.names == ["kind", "path", "walk", "classes", "total_seconds", "measuring", "advice"])
    #expect(report["kind"] == .string("folder"))
    #expect(
      report["walk"].names == [
        "files", "folders", "bytes", "hard_links_not_counted_again", "links_not_followed", "folders_met_again",
        "special_files", "other_file_systems", "not_meant_by_name", "files_counted_before", "failures",
      ])
    #expect(report["walk"]["files"] == .number("2") && report["walk"]["bytes"] == .number("50003"))
    let classes = report["classes"].items
    #expect(classes.map { $0["upper_bound_bytes"] } == [.number("4096"), .number("65536")])
    for found in classes {
      #expect(found.names == Self.sizeClass)
      try checkRow(found["row"], isPass: true)
    }
    #expect(
      report["total_seconds"].names == ["map", "map_populate", "read", "stream", "chosen", "best_of_each_class"])
    #expect(
      report["measuring"].names == ["cold", "evictions", "stayed_pages", "seconds", "interrupted"])
  }

  @Test func `errors stand in the JSON and on standard error`() throws {
    let tool = try Tool()
    let missing = tool.folder.appending("missing").string
    let result = try tool.advise("--json", missing)
    #expect(result.status == 1 && result.errors.hasPrefix("pagewise: \(missing): cannot stat"))
    let error = try #require(try result.json()["errors"].items.first)
    #expect(error.names == ["path", "code", "operation", "errno", "offset_bytes", "message"])
    #expect(error["path"] == .string(missing) && error["errno"] == .number("\(ENOENT)"))
    #expect(error["code"] == .string("notFound") && error["offset_bytes"] == .null)
  }

  @Test func `cold is said, with what stayed`() throws {
    let tool = try Tool()
    let path = try tool.folder.file("f", [1, 2, 3])
    let result = try tool.advise("--json", "--cold", path.string)
    let measuring = try #require(try result.json()["reports"].items.first?["measuring"])
    #expect(measuring["cold"] == .bool(true))
    let evictions = try #require(measuring["evictions"].number)
    #expect(evictions > 0 && measuring["stayed_pages"].isNumber)
    #expect(try tool.advise("--cold", path.string).output.contains("cold, evicted before each timing"))
  }

  /// Names that are no plain text, how a table shows them, and the bytes where JSON cannot hold them.
  static let names: [(bytes: [UInt8], shown: String, isText: Bool)] = [
    (Array("a\nb".utf8), "a\\nb", true), (Array("c\u{1B}[31md".utf8), "c\\x1b[31md", true),
    (Array("e\\f".utf8), "e\\\\f", true), (Array("g\"h".utf8), "g\"h", true),
    ([0x69, 0xFF, 0xFE, 0x6A], "i\\xff\\xfej", false), (Array("k\u{202E}l".utf8), "k\\xe2\\x80\\xael", true),
    (Array("ünï".utf8), "ünï", true), ([0xC3], "\\xc3", false), (Array("-dash".utf8), "-dash", true),
  ]

  @Test func `names of any bytes are on one line in tables, and whole in JSON`() throws {
    let tool = try Tool()
    var list: [UInt8] = []
    for name in Self.names {
      let path = tool.folder.path.appending(
        FilePath.Component(platformString: name.bytes.map { CChar(bitPattern: $0) } + [0])!)
      _ = try PatternFile(path, size: 10)
      list += Array(tool.folder.path.string.utf8) + [0x2F] + name.bytes + [0]
    }
    let table = try tool.advise("-", input: list)
    #expect(table.status == 0 && table.errors.isEmpty)
    let titles = table.lines.filter { $0.first != " " }
    #expect(titles == Self.names.map { "\(tool.folder.path.string)/\($0.shown)"[...] })

    let reports = try tool.advise("--json", "--files0-from", "-", input: list.dropLast()).json()["reports"].items
    #expect(reports.count == Self.names.count)
    let prefix = Array((tool.folder.path.string + "/").utf8)
    for (report, name) in zip(reports, Self.names) {
      #expect(report["path"] == .string(String(decoding: prefix + name.bytes, as: UTF8.self)))
      let hex = (prefix + name.bytes).map { ($0 < 16 ? "0" : "") + String($0, radix: 16) }.joined()
      #expect(report["path_hex"] == (name.isText ? .null : .string(hex)))
    }
  }

  @Test func `an argument that is not UTF-8 is the path of that file and no other`() throws {
    let tool = try Tool()
    let shell = """
      cd "\(tool.folder.path.string)" && name=$(printf 'x\\377') && printf 12345 >"$name" && exec "$@" "$name"
      """
    let report = try #require(try tool.advise("--json", shell: shell).json()["reports"].items.first)
    #expect(report["path_hex"] == .string("78ff") && report["file"]["size_bytes"] == .number("5"))
  }

  @Test func `an empty list is no error, and a list may stand between paths`() throws {
    let tool = try Tool()
    let one = try tool.folder.file("one", [1]).string
    let two = try tool.folder.file("two", [1]).string
    let empty = try tool.advise("--json", "-")
    let reports = try empty.json()["reports"]
    #expect(empty.status == 0 && reports == .array([]))
    let mixed = try tool.advise("--json", one, "-", one, input: Array(two.utf8)).json()["reports"].items
    #expect(mixed.map { $0["path"] } == [.string(one), .string(two), .string(one)])
  }
}

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

/// `pagewise verify`: each format, each state, each damage.
@Suite(.serialized) struct VerifyTests {
  /// A file with two commits that wait in its journal: nothing was closed.
  static func pending(_ path: FilePath) throws {
    var options = TransactionalFile.Options()
    options.application = .atCheckpoint
    var file = try TransactionalFile(path, creating: .ifMissing(size: 8192), options: options)
    for value in [1, 2] as [UInt8] {
      try file.begin()
      try file.withMutableBytes { $0.withUnsafeMutableBytes { $0[0] = value } }
      try file.commit(.durable)
    }
  }

  static func overwrite(_ path: FilePath, at offset: Int64) throws {
    let file = try FileDescriptor.open(path, .readWrite)
    try file.closeAfter { _ = try file.writeAll(toAbsoluteOffset: offset, [0xA5, 0x5A, 0xA5, 0x5A]) }
  }

  static func growable(_ path: FilePath) throws {
    var file = try GrowableMappedFile(path)
    try file.append("one\ntwo\n".utf8.span.bytes)
    try file.close()
  }

  static func numPy(_ folder: borrowing TemporaryDirectory, missing: Int = 0) throws -> FilePath {
    let type = try #require(NumPyElementType(.floatingPoint, itemSize: 8, byteOrder: .little))
    let header = try NumPyHeader(elementType: type, shape: [3, 4])
    return try folder.file("a.npy", try header.encoded() + [UInt8](repeating: 0, count: header.byteCount - missing))
  }

  @Test func `commits that wait are told, and that the next open brings them in; nothing is changed`() throws {
    let tool = try Tool()
    let path = tool.folder.appending("t")
    try Self.pending(path)
    let journal = FilePath(path.string + ".pagewise-journal")
    let before = try (PatternFile.read(path, 0..<1 << 20), PatternFile.read(journal, 0..<1 << 20))
    // By the name of either.
    for name in [path.string, journal.string] {
      let result = try tool.run(["verify", "--json", name])
      #expect(result.status == 0 && result.errors.isEmpty)
      let report = try #require(try result.json()["reports"].items.first)
      #expect(
        report.names == [
          "kind", "path", "sound", "size_bytes", "generation", "pending_commits", "pending_journal_bytes",
          "journal_belongs", "open", "next_open",
        ])
      #expect(report["kind"] == .string("transactional") && report["path"] == .string(name))
      #expect(report["pending_commits"] == .number("2") && report["generation"] == .number("0"))
      #expect(report["sound"] == .bool(true) && report["open"] == .bool(false))
      #expect(report["next_open"].text?.contains("brings 2 commits into the file") == true)
    }
    let table = try tool.run(["verify", path.string])
    #expect(table.status == 0 && table.output.contains("a transactional file") && table.output.contains("2 commits"))
    #expect(try PatternFile.read(path, 0..<1 << 20) == before.0 && PatternFile.read(journal, 0..<1 << 20) == before.1)
    // The next open does so.
    let file = try TransactionalFile(path)
    #expect(file.recovery.replayedCommits == 2)
    let open = try #require(try tool.run(["verify", "--json", path.string]).json()["reports"].items.first)
    #expect(open["open"] == .bool(true) && open["pending_commits"] == .null)
    try file.close()
    let closed = try #require(try tool.run(["verify", "--json", path.string]).json()["reports"].items.first)
    #expect(closed["pending_commits"] == .number("0") && closed["generation"] == .number("2"))
  }

  @Test func `growable files and arrays are told with their lengths`() throws {
    let tool = try Tool()
    let log = tool.folder.appending("log")
    try Self.growable(log)
    let array = try Self.numPy(tool.folder)
    let result = try tool.run(["verify", "--json", log.string, array.string])
    #expect(result.status == 0 && result.errors.isEmpty)
    let reports = try result.json()["reports"].items
    #expect(
      reports.first?.names == [
        "kind", "path", "sound", "size_bytes", "stride_bytes", "committed_bytes", "durable_bytes", "checked_bytes",
        "excess_bytes", "lost_bytes", "open", "next_open",
      ])
    #expect(reports.first?["kind"] == .string("growable") && reports.first?["committed_bytes"] == .number("8"))
    #expect(
      reports.last?.names == [
        "kind", "path", "sound", "size_bytes", "element_type", "shape", "fortran_order", "data_offset_bytes",
        "data_bytes", "excess_bytes", "next_open",
      ])
    #expect(reports.last?["shape"] == .array([.number("3"), .number("4")]))
    #expect(reports.last?["element_type"] == .string("<f8") && reports.last?["data_bytes"] == .number("96"))
    let table = try tool.run(["verify", log.string, array.string])
    #expect(table.output.contains("a growable file") && table.output.contains("3 x 4 of <f8"))
    #expect(table.lines.allSatisfy { $0.utf8.count <= 100 })
  }

  /// What is damaged, and a word of what is said.
  static let damages: [(what: String, word: String)] = [
    ("journal header", "checksum of its header"), ("journal magic", "first 8 bytes"),
    ("journal record", "damaged"), ("journal moved", "another file"), ("file cut", "was cut"),
    ("growable header", "checksum of its header"), ("growable data", "newest flush"), ("growable cut", "was cut"),
    ("array cut", "end at byte 224"), ("array header", "version"),
  ]

  @Test func `damage: status 1, one sentence with what and where, and a report that says so`() throws {
    withEvery("damage", in: Self.damages) { what, word in
      let tool = try Tool()
      var path = tool.folder.appending("f")
      let journal = FilePath(path.string + ".pagewise-journal")
      switch what {
      case "journal header", "journal magic", "journal record", "journal moved", "file cut":
        try Self.pending(path)
        switch what {
        case "journal header": try Self.overwrite(journal, at: 20)
        case "journal magic": try Self.overwrite(journal, at: 0)
        // The first record: the second one proves that it was durable.
        case "journal record": try Self.overwrite(journal, at: 4096 + 80)
        case "journal moved":
          let other = tool.folder.appending("g")
          try tool.folder.file("g", PatternFile.bytes(0..<8192))
          #expect(rename(journal.string, other.string + ".pagewise-journal") == 0)
          path = other
        default: #expect(truncate(path.string, 100) == 0)
        }
      case "growable header", "growable data", "growable cut":
        try Self.growable(path)
        if what == "growable cut" {
          #expect(truncate(path.string, 4099) == 0)
        } else {
          try Self.overwrite(path, at: what == "growable data" ? 4097 : 12)
        }
      case "array cut": path = try Self.numPy(tool.folder, missing: 1)
      default:
        path = try Self.numPy(tool.folder)
        try Self.overwrite(path, at: 6)
      }
      let result = try tool.run(["verify", path.string])
      check(result.status == 1, "status \(result.status)")
      check(result.output.contains("damaged"), result.output)
      check(result.errors.contains(word) && result.errors.hasPrefix("pagewise: \(path.string)"), result.errors)
      check(result.errors.split(separator: "\n").count == 1, result.errors)
      let json = try tool.run(["verify", "--json", path.string]).json()
      check(json["reports"].items.first?["sound"] == .bool(false))
      check(json["errors"].items.count == 1)
    }
  }

  @Test func `what is none of our formats has its sentence, and the others are checked`() throws {
    let tool = try Tool()
    let good = tool.folder.appending("good")
    try Self.growable(good)
    let others: [(FilePath, String)] = try [
      (tool.folder.file("text", Array("hello\n".utf8)), "not one of our formats"),
      (tool.folder.file("empty"), "not one of our formats"),
      (tool.folder.file("lone", Array("PGWTXJ\r\n".utf8)), "by its name that of no file"),
      (tool.folder.file("x.pagewise-journal", Array("PGWTXJ\r\n".utf8)), "does not lie beside it"),
      (tool.folder.path, "is a directory"), (tool.folder.appending("none"), "no such file"), ("/dev/zero", "regular"),
    ]
    let result = try tool.run(["verify"] + others.map(\.0.string) + [good.string])
    #expect(result.status == 1 && result.output.contains("a growable file"))
    let sentences = result.errors.split(separator: "\n")
    #expect(sentences.count == others.count)
    for (sentence, (path, word)) in zip(sentences, others) {
      #expect(sentence.hasPrefix("pagewise: \(path.string): cannot ") && sentence.contains(word), "\(sentence)")
    }
  }

  @Test func `names of any bytes are found, also of journals`() throws {
    let tool = try Tool()
    let shell = "cd \"\(tool.folder.path.string)\" && name=$(printf 'x\\n\\377') && exec \"$@\" \"$name\""
    #expect(try tool.run(["append"], shell: shell, input: Array("a\n".utf8)).status == 0)
    let report = try #require(try tool.run(["verify", "--json"], shell: shell).json()["reports"].items.first)
    #expect(report["path_hex"] == .string("780aff") && report["committed_bytes"] == .number("2"))
    let copy = shell.replacing("exec", with: "cp \"$name\" \"$name.pagewise-journal\" && exec")
    let strange = try tool.run(["verify"], shell: copy)
    #expect(strange.status == 1 && strange.errors.split(separator: "\n").count == 1)
    #expect(strange.errors.contains("x\\n\\xff.pagewise-journal: cannot verify"))
  }
}

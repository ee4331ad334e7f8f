// SPDX-License-Identifier: Apache-2.0

import SharedMemory
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

/// `pagewise region`: list, inspect, gc.
@Suite(.serialized) struct RegionCommandTests {
  static let members = [
    "kind", "name", "path", "identifier", "size_bytes", "waiting_bytes", "created_ns", "age_seconds", "used",
    "peer_places", "peers",
    "parts", "problem",
  ]

  static func layout() -> RegionLayout {
    RegionLayout(
      .counters("served", count: 3), .event("changed"), .bytes("table", count: 100), .mutex("lock", protecting: 8),
      .ring("orders", capacity: 4096, producers: 2))
  }

  @Test func `the list has every region of the folder, with who lives, and looking attaches nothing`() throws {
    let shelf = try RegionShelf()
    let empty = try shelf.run("region", "list")
    #expect(empty.status == 0 && empty.output == "no regions in \(shelf.path)\n", "\(empty)")
    let region = try SharedRegion(creating: Self.layout(), named: "used", in: shelf.runtime, label: "a \u{1B}[31mtest")
    do { _ = try SharedRegion(creating: Self.layout(), named: "left", in: shelf.runtime) }
    let text = try shelf.run("region", "list")
    #expect(text.status == 0 && text.errors.isEmpty && text.lines.count == 4, "\(text)")
    #expect(text.lines.allSatisfy { $0.count <= 100 } && !text.output.contains("\u{1B}"))
    #expect(text.lines[3].contains("used") && text.lines[3].contains("  1     0   yes  1 counters, 1 event, 1 bytes"))
    let result = try shelf.run("region", "list", "--json")
    #expect(result.status == 0)
    let reports = try result.json()["reports"].items
    #expect(reports.map { $0["name"].text } == ["left", "used"] && reports.allSatisfy { $0.names == Self.members })
    #expect(reports.map { $0["used"] } == [.bool(false), .bool(true)] && reports.allSatisfy { $0["problem"] == .null })
    let used = reports[1]
    #expect(used["identifier"].text == "\(region.identifier)" && used["size_bytes"].number == Double(region.byteCount))
    #expect(try #require(used["age_seconds"].number) < 600)
    let peer = try #require(used["peers"].items.first)
    #expect(used["peers"].items.count == 1 && peer["token"].text == "\(region.token)")
    #expect(peer["pid"].number == Double(getpid()) && peer["dead"] == .bool(false))
    #expect(peer["label"].text == "a \u{1B}[31mtest")
    #expect(used["parts"].items.map { $0["name"].text } == ["served", "changed", "table", "lock", "orders"])
    #expect(used["parts"].items.map { $0["kind"].text } == ["counters", "event", "bytes", "mutex", "ring"])
    // Nobody was attached by it.
    #expect(region.peers().count == 1)
  }

  @Test func `a region is shown with its peers, rings and counters, and their numbers are right`() throws {
    let shelf = try RegionShelf()
    let region = try SharedRegion(creating: Self.layout(), named: "shop", in: shelf.runtime, label: "a\nb")
    let counters = try region.counters("served")
    counters.add(7, at: 1)
    counters.add(.max, at: 2)
    var producer = try region.producer(of: "orders")
    let consumer = try region.consumer(of: "orders")
    let bytes = [UInt8](repeating: 1, count: 1000)
    for _ in 0..<6 { _ = try producer.sendOrDrop(bytes.span.bytes) }
    let result = try shelf.run("region", "inspect", "--json", "shop")
    #expect(result.status == 0 && result.errors.isEmpty, "\(result)")
    let report = try #require(try result.json()["reports"].items.first)
    #expect(report.names == Self.members + ["rings", "broadcasts", "counters"] && report["used"] == .bool(true))
    let ring = try #require(report["rings"].items.first)
    #expect(ring["part"].text == "orders" && ring["capacity_bytes"].number == 4096)
    #expect(ring["consumer"]["pid"].number == Double(getpid()) && ring["lanes"].items.count == 2)
    let lane = ring["lanes"].items[0]
    #expect(lane["producer"]["token"].text == "\(region.token)" && lane["producer"]["dead"] == .bool(false))
    #expect(lane["waiting_bytes"].number == 4 * 1008 && lane["sent_bytes"].number == 4 * 1008)
    #expect(lane["received_bytes"].number == 0 && lane["dropped_messages"].number == 2)
    #expect(ring["lanes"].items[1]["producer"] == .null)
    let shown = try #require(report["counters"].items.first)
    #expect(shown["values"] == .array([.number("0"), .number("7"), .number("\(UInt64.max)")]))
    #expect(report["broadcasts"].items.isEmpty)
    let text = try shelf.run("region", "inspect", "shop")
    #expect(text.status == 0 && text.lines.allSatisfy { $0.count <= 100 }, "\(text.output)")
    for words in [
      "\(region.identifier)", "\(getpid())", "a\\nb", "ring 'orders': 4.00 KiB", "3.94 KiB", "counters 'served': 0 7",
      "1 alive",
    ] { #expect(text.output.contains(words), "\(words): \(text.output)") }
    #expect(consumer.producerLimit == 2 && region.peers().count == 1)
  }

  @Test func `a broadcast is shown with its writer and with who holds it up`() throws {
    let shelf = try RegionShelf()
    let layout = RegionLayout(.broadcast("ticks", capacity: 1024, followers: 3))
    let region = try SharedRegion(creating: layout, named: "news", in: shelf.runtime)
    var writer = try region.broadcastWriter(of: "ticks")
    let follower = try region.broadcastReader(of: "ticks", losing: .nothing)
    let bytes = [UInt8](repeating: 1, count: 400)
    for _ in 0..<4 { _ = try writer.sendOrDrop(bytes.span.bytes) }
    let report = try #require(try shelf.run("region", "inspect", "--json", "news").json()["reports"].items.first)
    let broadcast = try #require(report["broadcasts"].items.first)
    #expect(broadcast["part"].text == "ticks" && broadcast["capacity_bytes"].number == 1024)
    #expect(broadcast["writer"]["pid"].number == Double(getpid()) && broadcast["follower_limit"].number == 3)
    #expect(broadcast["sent_bytes"].number == 2 * 424 && broadcast["dropped_messages"].number == 2)
    #expect(broadcast["followers"].items.map { $0["waiting_bytes"].number } == [2 * 424])
    #expect(broadcast["followers"].items.map { $0["peer"]["dead"] } == [.bool(false)])
    let text = try shelf.run("region", "inspect", "news")
    #expect(text.status == 0 && text.lines.allSatisfy { $0.count <= 100 }, "\(text.output)")
    for words in ["broadcast 'ticks'", "messages dropped 2, followers 1 of 3", "\(getpid())"] {
      #expect(text.output.contains(words), "\(words): \(text.output)")
    }
    #expect(follower.lostCount == 0)
  }

  @Test func `peers that were killed are shown as dead, at once`() throws {
    let shelf = try RegionShelf()
    try shelf.ring("jobs")
    var child = try shelf.start("ring", "receive", "jobs")
    #expect(try RegionShelf.eventually { try shelf.status("jobs").consumer != .none })
    child.kill()
    let report = try #require(try shelf.run("region", "inspect", "--json", "jobs").json()["reports"].items.first)
    #expect(report["used"] == .bool(false))
    #expect(report["peers"].items.map { $0["dead"] } == [.bool(true)])
    #expect(report["peers"].items.map { $0["pid"].number } == [Double(child.pid)])
    let ring = try #require(report["rings"].items.first)
    #expect(ring["consumer"]["dead"] == .bool(true) && ring["consumer"]["label"].text == "pagewise ring receive")
    let text = try shelf.run("region", "inspect", "jobs")
    #expect(text.output.contains("\(child.pid) pagewise ring receive (dead)"), "\(text)")
    #expect(text.output.contains("0 alive, 1 dead"))
  }

  @Test func `gc removes nothing unless told, and then only what nobody uses`() throws {
    let shelf = try RegionShelf()
    let region = try SharedRegion(creating: Self.layout(), named: "used", in: shelf.runtime)
    try shelf.ring("left")
    try shelf.ring("killed")
    var child = try shelf.start("ring", "receive", "killed")
    #expect(try RegionShelf.eventually { try shelf.status("killed").consumer != .none })
    func outcomes(_ arguments: String...) throws -> [String?] {
      let result = try shelf.tool.run(
        ["region", "gc", "--json", "--folder", shelf.path.string] + arguments)
      #expect(result.status == 0 && result.errors.isEmpty, "\(result)")
      return try #require(try result.json()["reports"].items.first)["regions"].items.map {
        "\($0["name"].text ?? "") \($0["outcome"].text ?? "")"
      }
    }
    #expect(try outcomes() == ["killed in_use", "left unused", "used in_use"])
    #expect(kill(child.pid, SIGSTOP) == 0)
    #expect(try outcomes() == ["killed in_use", "left unused", "used in_use"], "stopped is not gone")
    child.kill()
    #expect(try outcomes() == ["killed unused", "left unused", "used in_use"])
    try #require(try shelf.run("ring", "send", "left", input: Array("for a later receiver\n".utf8)).status == 0)
    let json = try shelf.run("region", "gc", "--json").json()
    #expect(
      json["reports"].items[0]["regions"].items.map { $0["waiting_bytes"].integer } == [0, 32, 0])
    let listed = try shelf.run("region", "list", "--json").json()
    #expect(listed["reports"].items.map { $0["waiting_bytes"].integer } == [0, 32, 0])
    let text = try shelf.run("region", "gc")
    #expect(text.output.contains("would be removed, with 32 B that waited for a receiver"), "\(text)")
    #expect(text.output.contains("2 regions") && text.output.contains("would be removed; nothing was"), "\(text)")
    #expect(try shelf.runtime.regions().count == 3)
    #expect(try outcomes("--remove") == ["killed removed", "left removed", "used in_use"])
    #expect(try shelf.runtime.regions().map(\.name) == ["used"])
    #expect(try shelf.run("region", "gc", "--remove").output.contains("nothing to remove"))
    #expect(region.peers().count == 1)
  }

  @Test func `a file that is no region has its reason in its row, status 1, and stays`() throws {
    let shelf = try RegionShelf()
    try shelf.forge("x", Array("hello".utf8))
    try shelf.ring("good")
    let list = try shelf.run("region", "list")
    #expect(list.status == 1 && list.lines.last?.hasSuffix("it is not a region") == true, "\(list)")
    #expect(list.output.contains("1 ring") && list.errors.split(separator: "\n").count == 1)
    let json = try shelf.run("region", "list", "--json")
    let value = try json.json()
    #expect(json.status == 1 && value["errors"].items.map { $0["code"].text } == ["notARegion"])
    #expect(value["reports"].items.map { $0["problem"]["code"].text } == [nil, "notARegion"])
    #expect(value["reports"].items.map { $0["identifier"] == .null } == [false, true])
    let collected = try shelf.run("region", "gc", "--remove")
    #expect(collected.status == 1 && collected.output.contains("left: it is not a region"), "\(collected)")
    #expect(try shelf.runtime.regions().map(\.name) == ["x"])
  }

  @Test func `what cannot be: one sentence with a remedy, and the status tells usage from failure`() throws {
    let shelf = try RegionShelf()
    try shelf.forge("x", [])
    #expect(chmod(shelf.path.string, 0o700) == 0)
    let open = try TemporaryDirectory()
    #expect(chmod(open.path.string, 0o777) == 0)
    let cases: [([String], Int, String)] = [
      (["inspect", "nobody"], 1, "there is none (in \(shelf.path))"), (["inspect", "x"], 1, "not a region"),
      (["inspect", "a/b"], 64, "a name has 1 to 200"), (["inspect", ""], 64, "a name has 1 to 200"),
      (["inspect"], 64, "name"), (["list", "extra"], 64, "extra"), (["list", "--folder", ""], 64, "empty"),
      (["gc", "--bogus"], 64, "bogus"), (["list", "--folder", open.path.string], 1, "others can change its folder"),
      (["gc", "--folder", open.path.string], 1, "others can change its folder"),
    ]
    withEvery("arguments", in: cases) { arguments, status, words in
      let result = try shelf.tool.run(
        ["region"] + arguments, environment: ["PAGEWISE_RUNTIME_DIR": shelf.path.string])
      check(result.status == status && result.output.isEmpty && result.errors.contains(words), "\(result)")
      if status == 1 { check(result.errors.split(separator: "\n").count == 1 && result.errors.hasSuffix(".\n")) }
    }
    // No folder, no regions.
    let missing = try shelf.run("region", "list", "--folder", open.appending("missing").string)
    #expect(missing.status == 0 && missing.output.hasPrefix("no regions"))
  }

  @Test func `help fits 80 columns and has examples and statuses, for every verb`() throws {
    let tool = try Tool()
    let verbs = [
      ["region", "list"], ["region", "inspect"], ["region", "gc"], ["ring", "create"], ["ring", "send"],
      ["ring", "receive"],
    ]
    withEvery("verb", in: verbs) { verb in
      let result = try tool.run(verb + ["--help"])
      check(result.status == 0 && result.output.contains("EXAMPLES:") && result.output.contains("EXIT STATUS:"))
      check(result.lines.allSatisfy { $0.count <= 80 || $0.hasPrefix("USAGE: ") }, result.output)
    }
    withEvery("group", in: ["region", "ring"]) { group in
      let result = try tool.run([group, "--help"])
      check(result.status == 0 && result.output.contains("EXAMPLES:"))
      check(result.lines.allSatisfy { $0.count <= 80 || $0.hasPrefix("USAGE: ") }, result.output)
    }
  }

  @Test func `regions whose bytes were changed at random end no verb by a signal`() throws {
    let shelf = try RegionShelf()
    try shelf.ring("good", capacity: "4K", producers: 2)
    #expect(try shelf.run("ring", "send", "good", input: Array(RegionShelf.lines(1...50).utf8)).status == 0)
    let good = try PatternFile.read(shelf.file("good"), 0..<1 << 20)
    var random = Random(seed: 5)
    // The header and its parts, the peer table, the ring.
    let places = [0..<400, 65_536..<66_000, good.count - 10_240..<good.count]
    withEvery("round", in: 0..<24) { round in
      var bytes = good
      for _ in 0...random.below(8) {
        let place = places[random.below(places.count)]
        let at = place.lowerBound + random.below(place.count)
        bytes[at] = UInt8(random.below(256))
      }
      if round % 6 == 5 { bytes.removeLast(random.below(bytes.count)) }
      try shelf.forge("bad", bytes)
      for arguments in [
        ["region", "list"], ["region", "inspect", "bad"], ["ring", "receive", "--drain", "bad"],
        ["ring", "tail", "bad"], ["ring", "top", "--interval", "0.01", "--count", "1"],
        ["ring", "send", "--drop", "bad"],
      ] {
        let result = try shelf.tool.run(
          arguments, input: Array("a\nb\n".utf8), environment: ["PAGEWISE_RUNTIME_DIR": shelf.path.string], seconds: 20)
        check([0, 1].contains(result.status), "\(arguments): \(result)")
        check(result.status == 0 || !result.errors.isEmpty, "\(arguments): \(result)")
      }
    }
  }
}

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

/// `pagewise ring`: top, tail, bench.
@Suite(.serialized) struct RingWatchTests {
  @Test func `tail shows what waits and takes nothing, as lines and framed`() throws {
    let shelf = try RegionShelf()
    try shelf.ring("jobs", producers: 2)
    #expect(try shelf.run("ring", "tail", "jobs").output.isEmpty)
    let input = RegionShelf.lines(1...1000)
    #expect(try shelf.run("ring", "send", "jobs", input: Array(input.utf8)).status == 0)
    for _ in 0..<2 {
      let tail = try shelf.run("ring", "tail", "jobs")
      #expect(tail.status == 0 && tail.output == input && tail.errors.isEmpty)
    }
    #expect(try shelf.status("jobs").lanes[0].receivedBytes == 0)
    #expect(try shelf.run("ring", "receive", "jobs", "--drain").output == input)
    #expect(try shelf.run("ring", "tail", "jobs").output.isEmpty, "what was received is not shown")
    let records = [[], [10, 0], Array("a\nb".utf8)] as [[UInt8]]
    #expect(try shelf.run("ring", "send", "--framed", "jobs", input: RegionShelf.framed(records)).status == 0)
    let framed = try shelf.run("ring", "tail", "--framed", "jobs")
    #expect(framed.status == 0 && Array(framed.output.utf8) == RegionShelf.framed(records))
    #expect(try shelf.run("ring", "tail", "jobs").output == "\n\n\u{0}\na\nb\n")
    let full = try shelf.run("ring", "tail", "jobs", shell: "exec \"$@\" >/dev/full")
    #expect(full.status == 1 && full.errors.contains("cannot write to standard output"), "\(full)")
  }

  @Test func `tail -f shows what comes beside a receiver, and says how many bytes it missed`() throws {
    let shelf = try RegionShelf()
    try shelf.ring("jobs")
    try #require(try shelf.run("ring", "send", "jobs", input: Array("1\n2\n".utf8)).status == 0)
    var tail = try shelf.start("ring", "tail", "-f", "jobs", shell: "exec \"$@\" >out 2>err")
    #expect(RegionShelf.eventually { shelf.text("out") == "1\n2\n" })
    try #require(try shelf.run("ring", "send", "jobs", input: Array("3\n".utf8)).status == 0)
    #expect(RegionShelf.eventually { shelf.text("out") == "1\n2\n3\n" })
    #expect(shelf.text("err").isEmpty)
    // Stopped, it cannot see what passes meanwhile: ten messages of 16 bytes.
    #expect(kill(tail.pid, SIGSTOP) == 0)
    try #require(try shelf.run("ring", "send", "jobs", input: Array(RegionShelf.lines(10...19).utf8)).status == 0)
    #expect(try shelf.run("ring", "receive", "jobs", "--drain").output == "1\n2\n3\n" + RegionShelf.lines(10...19))
    try #require(try shelf.run("ring", "send", "jobs", input: Array("last\n".utf8)).status == 0)
    #expect(kill(tail.pid, SIGCONT) == 0)
    #expect(RegionShelf.eventually { shelf.text("out") == "1\n2\n3\nlast\n" }, "\(shelf.text("out"))")
    tail.terminate()
    #expect(tail.wait(seconds: 20) == 0)
    #expect(shelf.text("err") == "pagewise: missed 160 bytes of ring 'jobs' until now: its receiver was faster.\n")
  }

  @Test func `tail -f with JSON has what it missed in its place`() throws {
    let shelf = try RegionShelf()
    try shelf.ring("jobs")
    var tail = try shelf.start("ring", "tail", "-f", "--json", "jobs", shell: "exec \"$@\" >out 2>err")
    try #require(try shelf.run("ring", "send", "jobs", input: Array("1\n".utf8)).status == 0)
    #expect(RegionShelf.eventually { shelf.text("out").hasSuffix("\n") })
    #expect(kill(tail.pid, SIGSTOP) == 0)
    try #require(try shelf.run("ring", "send", "jobs", input: Array("2\n3\n".utf8)).status == 0)
    #expect(try shelf.run("ring", "receive", "jobs", "--drain").output == "1\n2\n3\n")
    try #require(try shelf.run("ring", "send", "--type", "9", "jobs", input: Array("last".utf8)).status == 0)
    #expect(kill(tail.pid, SIGCONT) == 0)
    #expect(RegionShelf.eventually { shelf.text("out").contains("last") })
    tail.terminate()
    #expect(tail.wait(seconds: 20) == 0)
    let lines = try shelf.text("out").split(separator: "\n").map { try JSON(String($0)) }
    #expect(lines.map { $0["text"].text } == ["1", nil, "last"] && lines.map { $0["type"].integer } == [0, nil, 9])
    #expect(lines.map { $0["missed_bytes"].integer } == [nil, 32, nil] && lines.allSatisfy { $0["lane"].integer == 0 })
  }

  @Test func `tail -f and receive end when the reader of their output goes, also while nothing comes`() throws {
    let shelf = try RegionShelf()
    try shelf.ring("jobs")
    withEvery("verb", in: [["tail", "-f"], ["receive"]]) { verb in
      withEvery("signal", in: ["", "trap '' PIPE; "]) { trap in
        let result = try shelf.tool.run(
          ["ring"] + verb + ["jobs"], shell: "\(trap){ \"$@\"; echo $? >&2; } | true",
          environment: ["PAGEWISE_RUNTIME_DIR": shelf.path.string], seconds: 20)
        check(result.errors == (trap.isEmpty ? "141\n" : "1\n"), "\(result)")
      }
    }
  }

  @Test func `top has a line of JSON for each look, with rates between looks`() throws {
    let shelf = try RegionShelf()
    try shelf.ring("idle", capacity: "4K", producers: 2)
    let layout = RegionLayout(.ring("a", capacity: 4096), .event("b"), .ring("c", capacity: 64))
    let region = try SharedRegion(creating: layout, named: "shop", in: shelf.runtime, label: "test")
    var producer = try region.producer(of: "a")
    let consumer = try region.consumer(of: "c")
    let bytes = [UInt8](repeating: 1, count: 1000)
    for _ in 0..<5 { _ = try producer.sendOrDrop(bytes.span.bytes) }
    let result = try shelf.run("ring", "top", "--json", "--interval", "0.05", "--count", "3")
    #expect(result.status == 0 && result.errors.isEmpty && result.lines.count == 3, "\(result)")
    for line in result.lines {
      let look = try JSON(String(line))
      #expect(look.names == ["pagewise", "format", "time_ns", "interval_seconds", "rings", "errors"])
      #expect(try #require(look["interval_seconds"].number) >= 0.05)
      #expect(look["rings"].items.map { $0["region"].text } == ["idle", "shop", "shop"])
      #expect(look["rings"].items.map { $0["part"].text } == ["ring", "a", "c"])
      #expect(look["rings"].items.map { $0["lanes"].items.count } == [2, 1, 1])
      let ring = look["rings"].items[1]
      #expect(ring["consumer"] == .null && ring["capacity_bytes"].number == 4096)
      #expect(look["rings"].items[2]["consumer"]["label"].text == "test")
      let lane = try #require(ring["lanes"].items.first)
      #expect(
        lane.names == [
          "producer", "sent_bytes", "received_bytes", "waiting_bytes", "dropped_messages", "sent_bytes_per_second",
          "received_bytes_per_second", "dropped_messages_per_second",
        ])
      #expect(lane["producer"]["pid"].number == Double(getpid()) && lane["waiting_bytes"].number == 4032)
      #expect(lane["dropped_messages"].number == 1 && lane["sent_bytes_per_second"].number == 0)
    }
    #expect(consumer.producerLimit == 1 && region.peers().count == 1)
  }

  @Test func `rates of top are those of the indices, for one region or all`() throws {
    let shelf = try RegionShelf()
    try shelf.ring("jobs")
    try shelf.ring("other")
    let region = try SharedRegion(named: "jobs", in: shelf.runtime, label: "test")
    var producer = try region.producer(of: "ring")
    var consumer = try region.consumer(of: "ring")
    var top = try shelf.start(
      "ring", "top", "jobs", "--json", "--interval", "0.1", "--count", "4", shell: "exec \"$@\" >out")
    let bytes = [UInt8](repeating: 1, count: 120)
    var sent: UInt64 = 0
    while !top.isOver {
      for _ in 0..<10 { try producer.send(bytes.span.bytes) }
      sent += 1280
      while try consumer.tryReceive(upTo: 64, { _, _ in }) > 0 {}
      usleep(1000)
    }
    #expect(top.wait(seconds: 20) == 0)
    let looks = try shelf.text("out").split(separator: "\n").map { try JSON(String($0)) }
    #expect(looks.count == 4)
    let lanes = try looks.map { try #require($0["rings"].items.first?["lanes"].items.first) }
    #expect(looks.allSatisfy { $0["rings"].items.count == 1 })
    for (index, lane) in lanes.enumerated() {
      let total = try #require(lane["sent_bytes"].number)
      let rate = try #require(lane["sent_bytes_per_second"].number)
      #expect(total <= Double(sent) && rate >= 0)
      guard index > 0 else { continue }
      // The rate times its interval is what came, up to the moment between two readings of the clock.
      let came = total - (lanes[index - 1]["sent_bytes"].number ?? 0)
      let interval = try #require(looks[index]["interval_seconds"].number)
      #expect(came == 0 ? rate == 0 : (0.5...2).contains(rate * interval / came), "\(rate) \(interval) \(came)")
    }
    #expect(lanes.contains { ($0["sent_bytes_per_second"].number ?? 0) > 0 })
  }

  @Test func `top in plain rows names rings, processes and the dead`() throws {
    let shelf = try RegionShelf()
    let none = try shelf.run("ring", "top", "--interval", "0.01", "--count", "1")
    #expect(none.status == 0 && none.output.hasPrefix("no rings in \(shelf.path)"), "\(none)")
    try shelf.ring("jobs", capacity: "64", producers: 3)
    #expect(try shelf.run("ring", "send", "jobs", "--drop", input: Array(RegionShelf.lines(1...9).utf8)).status == 0)
    var receiver = try shelf.start("ring", "tail", "-f", "jobs")
    receiver.kill()
    receiver = try shelf.start("ring", "receive", "--framed", "jobs", shell: "exec \"$@\" >/dev/null")
    #expect(try RegionShelf.eventually { try shelf.status("jobs").lanes[0].waitingBytes == 0 })
    receiver.kill()
    // The sender takes the place of the dead one, so its token is all that is left of it.
    #expect(try shelf.run("ring", "send", "jobs", "--drop", input: Array(RegionShelf.lines(1...9).utf8)).status == 0)
    let result = try shelf.run("ring", "top", "--interval", "0.01", "--count", "2")
    #expect(result.status == 0 && !result.output.contains("\u{1B}"), "\(result)")
    // Two looks of a head and the one lane that is not idle.
    #expect(result.lines.count == 4, "\(result.output)")
    for words in ["jobs 0 ", " 64 B ", " 100 % ", "  - > peer ", " (dead)"] {
      #expect(result.lines[1].contains(words), "\(words): \(result.output)")
    }
  }

  @Test func `top goes on beside a file that is no region, and says so once`() throws {
    let shelf = try RegionShelf()
    try shelf.ring("jobs")
    try shelf.forge("x", [1])
    let result = try shelf.run("ring", "top", "--json", "--interval", "0.01", "--count", "3")
    #expect(result.status == 1 && result.lines.count == 3, "\(result)")
    #expect(result.errors.split(separator: "\n").count == 1 && result.errors.contains("not a region"))
    for line in result.lines {
      let look = try JSON(String(line))
      #expect(look["rings"].items.count == 1 && look["errors"].items.map { $0["code"].text } == ["notARegion"])
    }
    // Until it is interrupted, which is no failure.
    var top = try shelf.start("ring", "top", "jobs", "--interval", "0.01", shell: "exec \"$@\" >out")
    #expect(RegionShelf.eventually { shelf.text("out").contains("jobs") })
    top.terminate()
    #expect(top.wait(seconds: 20) == 0)
  }

  @Test func `bench measures round trips and three streams, and leaves nothing behind`() throws {
    let shelf = try RegionShelf()
    let result = try withWatchdog("bench") { try shelf.run("ring", "bench", "--json", "--seconds", "0.4") }
    #expect(result.status == 0 && result.errors.isEmpty, "\(result)")
    let report = try #require(try result.json()["reports"].items.first)
    #expect(report.names == ["kind", "processors", "capacity_bytes", "round_trip", "streams"])
    let trip = report["round_trip"]
    #expect(try #require(trip["rounds"].number) > 0 && #require(trip["median_ns"].number) > 0)
    #expect(try #require(trip["p99_ns"].number) >= #require(trip["median_ns"].number))
    #expect(report["streams"].items.map { $0["message_bytes"].number } == [64, 1024, 65_536])
    for stream in report["streams"].items {
      let (messages, seconds) = (try #require(stream["messages"].number), try #require(stream["seconds"].number))
      #expect(messages > 0 && seconds >= 0.1 && stream["messages_per_second"].number == messages / seconds)
      #expect(try #require(stream["cpu_here_seconds"].number) >= 0 && #require(stream["cpu_there_seconds"].number) >= 0)
    }
    let text = try shelf.run("ring", "bench", "--seconds", "0.1")
    #expect(text.status == 0 && text.output.contains("round trip, 64 B") && text.output.contains("stream, 64 KiB"))
    #expect(try shelf.runtime.regions().isEmpty)
  }

  @Test func `bench whose second process is killed, or that is interrupted, ends at once with its sentence`() throws {
    let shelf = try RegionShelf()
    for (signal, status, words) in [
      ("KILL", 1, "the second process ended before its time"), ("", 130, "interrupted; nothing was measured"),
    ] {
      var bench = try shelf.start("ring", "bench", "--seconds", "600", shell: "exec \"$@\" >out 2>err")
      let children = FilePath("/proc/\(bench.pid)/task/\(bench.pid)/children")
      var child: pid_t = 0
      #expect(
        RegionShelf.eventually {
          child = pid_t(ProcessView.text(children).split(separator: " ").first ?? "") ?? 0
          return child > 0
        })
      usleep(100_000)
      if signal.isEmpty { bench.terminate() } else { #expect(kill(child, SIGKILL) == 0) }
      #expect(bench.wait(seconds: 30) == status)
      #expect(shelf.text("err").contains(words) && shelf.text("out").isEmpty, "\(shelf.text("err"))")
      #expect(RegionShelf.eventually { kill(child, 0) != 0 }, "the second process is gone")
    }
  }

  @Test func `a bench that is killed takes its second process with it`() throws {
    let shelf = try RegionShelf()
    var bench = try shelf.start("ring", "bench", "--seconds", "600")
    let children = FilePath("/proc/\(bench.pid)/task/\(bench.pid)/children")
    var child: pid_t = 0
    #expect(
      RegionShelf.eventually {
        child = pid_t(ProcessView.text(children).split(separator: " ").first ?? "") ?? 0
        return child > 0
      })
    usleep(100_000)
    bench.kill()
    // Somebody else awaits it now; until then it is a zombie, whose command line is empty.
    #expect(RegionShelf.eventually { ProcessView.text(FilePath("/proc/\(child)/cmdline")).isEmpty })
  }

  @Test func `what cannot be: one sentence; wrong usage: status 64; help fits 80 columns`() throws {
    let shelf = try RegionShelf()
    do { _ = try SharedRegion(creating: RegionLayout(.event("c")), named: "none", in: shelf.runtime) }
    let cases: [([String], Int, String)] = [
      (["tail", "nobody"], 1, "there is none"), (["top", "nobody"], 1, "there is none"),
      (["tail", "none"], 1, "no ring"),
      (["top", "none"], 1, "no ring"), (["tail", "a/b"], 64, "a name has"), (["top", ""], 64, "a name has"),
      (["tail"], 64, "name"), (["top", "--interval", "0"], 64, "--interval"),
      (["top", "--interval", "x"], 64, "--interval"),
      (["top", "--interval", "nan"], 64, "--interval"), (["top", "--count", "0"], 64, "--count"),
      (["bench", "--seconds", "0"], 64, "--seconds"), (["bench", "--seconds", "inf"], 64, "--seconds"),
      (["bench", "extra"], 64, "extra"),
    ]
    withEvery("arguments", in: cases) { arguments, status, words in
      let result = try shelf.tool.run(["ring"] + arguments, environment: ["PAGEWISE_RUNTIME_DIR": shelf.path.string])
      check(result.status == status && result.output.isEmpty && result.errors.contains(words), "\(result)")
    }
    withEvery("verb", in: ["top", "tail", "bench"]) { verb in
      let result = try shelf.run("ring", verb, "--help")
      check(result.status == 0 && result.output.contains("EXAMPLES:") && result.output.contains("EXIT STATUS:"))
      check(result.lines.allSatisfy { $0.count <= 80 || $0.hasPrefix("USAGE: ") }, result.output)
    }
    #expect(try !shelf.run("ring", "--help").output.contains("bench-peer"))
  }
}

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

/// `pagewise ring`: create, send, receive.
@Suite(.serialized) struct RingCommandTests {
  @Test func `ten thousand lines pass through a small ring, byte for byte`() throws {
    let shelf = try RegionShelf()
    try shelf.ring("jobs", capacity: "1K")
    var input = ""
    for number in 1...10_000 { input += String(repeating: "x", count: number % 200) + "\(number)\n" }
    var receiver = try shelf.start("ring", "receive", "jobs", "--count", "10000", shell: "exec \"$@\" >out")
    let sent = try shelf.run("ring", "send", "jobs", input: Array(input.utf8))
    #expect(sent.status == 0 && sent.output.isEmpty && sent.errors.isEmpty, "\(sent)")
    #expect(receiver.wait(seconds: 30) == 0)
    #expect(shelf.text("out") == input)
    let status = try shelf.status("jobs")
    #expect(status.lanes[0].waitingBytes == 0 && status.lanes[0].droppedMessages == 0 && status.consumer == .none)
  }

  @Test func `empty lines and a last line without its end are messages, and wait while nobody is there`() throws {
    let shelf = try RegionShelf()
    try shelf.ring("jobs")
    #expect(try shelf.run("ring", "send", "jobs", input: Array("a\n\nb\r\n\u{0}\nlast".utf8)).status == 0)
    #expect(try shelf.run("ring", "send", "jobs").status == 0, "nothing is no message")
    let first = try shelf.run("ring", "receive", "jobs", "--count", "2")
    #expect(first.status == 0 && first.output == "a\n\n", "\(first)")
    let rest = try shelf.run("ring", "receive", "jobs", "--drain")
    #expect(rest.status == 0 && rest.output == "b\r\n\u{0}\nlast\n" && rest.errors.isEmpty, "\(rest)")
    #expect(try shelf.run("ring", "receive", "jobs", "--drain").output.isEmpty)
  }

  @Test func `framed records of any bytes and sizes come out as they went in`() throws {
    let shelf = try RegionShelf()
    try shelf.ring("frames", capacity: "8K")
    var random = Random(seed: 3)
    let limit = 4096 - 8
    var records = [[], [10], [], [0, 10, 255], [UInt8](repeating: 10, count: limit), []]
    for _ in 0..<500 { records.append(PatternFile.bytes(0..<Int64(random.below(1000)))) }
    let input = RegionShelf.framed(records)
    var receiver = try shelf.start(
      "ring", "receive", "--framed", "frames", "--count", "\(records.count)", shell: "exec \"$@\" >out")
    #expect(try shelf.run("ring", "send", "--framed", "frames", input: input).status == 0)
    #expect(receiver.wait(seconds: 30) == 0)
    #expect(try PatternFile.read(shelf.tool.folder.appending("out"), 0..<10 << 20) == input)
  }

  @Test func `a message with a line feed is no line: an error, and it stays with all that follow`() throws {
    let shelf = try RegionShelf()
    try shelf.ring("frames")
    let records = ["a", "b", "c\nd", "e"].map { Array($0.utf8) }
    #expect(try shelf.run("ring", "send", "--framed", "frames", input: RegionShelf.framed(records)).status == 0)
    let lines = try shelf.run("ring", "receive", "frames", "--drain")
    #expect(lines.status == 1 && lines.output == "a\nb\n", "\(lines)")
    #expect(lines.errors.contains("has a line feed") && lines.errors.contains("after 2 messages"))
    let again = try shelf.run("ring", "receive", "frames", "--drain")
    #expect(again.status == 1 && again.output.isEmpty && again.errors.contains("--framed"), "\(again)")
    let framed = try shelf.run("ring", "receive", "--framed", "frames", "--drain")
    #expect(framed.status == 0 && Array(framed.output.utf8) == RegionShelf.framed(Array(records[2...])), "\(framed)")
  }

  @Test func `JSON has type, size and text of each message, or base64 of what is no text`() throws {
    let shelf = try RegionShelf()
    try shelf.ring("jobs", producers: 2)
    let records: [[UInt8]] = [
      Array("größer \"a\"\n\t\u{0}".utf8), [], [0xFF], [0xFF, 0xFE], [0xFF, 0xFE, 0xFD], [0xFF, 0xFE, 0xFD, 0xFC],
      [UInt8](repeating: 0x80, count: 100_000),
    ]
    let sent = try shelf.run(
      "ring", "send", "--framed", "--json", "--type", "513", "jobs", input: RegionShelf.framed(records))
    #expect(sent.status == 0 && sent.errors.isEmpty && sent.lines.count == 1, "\(sent)")
    let report = try sent.json()
    #expect(report["ring"].text == "jobs" && report["records"].integer == 7 && report["sent"].integer == 7)
    #expect(report["sent_bytes"].integer == records.map(\.count).reduce(0, +) && report["dropped"].integer == 0)
    for verb in [["tail"], ["receive", "--drain"]] {
      let result = try shelf.tool.run(
        ["ring"] + verb + ["--json", "jobs"], environment: ["PAGEWISE_RUNTIME_DIR": shelf.path.string])
      #expect(result.status == 0 && result.errors.isEmpty, "\(result)")
      let messages = try result.lines.map { try JSON(String($0)) }
      #expect(messages.map { $0["type"].integer } == [Int](repeating: 513, count: 7))
      #expect(messages.map { $0["size_bytes"].integer } == records.map(\.count))
      #expect(messages.map { $0["text"].text } == ["größer \"a\"\n\t\u{0}", "", nil, nil, nil, nil, nil])
      let base64 = messages.map { $0["base64"].text }
      #expect(base64.prefix(6) == [nil, nil, "/w==", "//4=", "//79", "//79/A=="])
      #expect(base64[6] == String(repeating: "gICA", count: 33_333) + "gA==")
      #expect(messages.map { $0["lane"].integer } == [Int?](repeating: verb == ["tail"] ? 0 : nil, count: 7))
    }
    let both = try shelf.run("ring", "receive", "--json", "--framed", "jobs")
    #expect(both.status == 64 && both.errors.contains("not both"), "\(both)")
    #expect(try shelf.run("ring", "send", "--type", "65536", "jobs").status == 64)
  }

  @Test func `the report of a sender counts what was sent, also when it ends early`() throws {
    let shelf = try RegionShelf()
    try shelf.ring("jobs", capacity: "64")
    let lines = Array("1234567\n1234567\n1234567\n1234567\n1234567\n1234567\n".utf8)
    let dropped = try shelf.run("ring", "send", "--drop", "--json", "jobs", input: lines)
    let report = try dropped.json()
    #expect(dropped.status == 0 && dropped.errors.contains("2 messages were dropped"), "\(dropped)")
    #expect(report["records"].integer == 6 && report["sent"].integer == 4 && report["dropped"].integer == 2)
    let late = try shelf.run("ring", "send", "--timeout", "0.1", "--json", "jobs", input: lines)
    #expect(late.status == 124 && late.errors.contains("record 1 "), "\(late)")
    let nothing = try late.json()
    #expect(nothing["records"].integer == 1 && nothing["sent"].integer == 0 && nothing["dropped"].integer == 0)
    _ = try shelf.run("ring", "receive", "--drain", "jobs")
    let long = try shelf.run(
      "ring", "send", "--json", "jobs", input: Array("ok\n".utf8) + [UInt8](repeating: 65, count: 60))
    #expect(long.status == 1 && (try? long.json()["sent"].integer) == 1, "\(long)")
    let full = try shelf.run("ring", "send", "--drop", "--json", "jobs", shell: "exec \"$@\" >/dev/full", input: lines)
    #expect(full.status == 1 && full.errors.contains("cannot write to standard output"), "\(full)")
  }

  @Test func `receivers that are killed in the middle lose nothing: all in order, at most a batch again`() throws {
    let shelf = try RegionShelf()
    try shelf.ring("jobs", capacity: "4K")
    let last = 300_000
    try shelf.tool.folder.file("in", RegionShelf.lines(1...last).utf8)
    var sender = try shelf.start("ring", "send", "jobs", shell: "exec \"$@\" <in")
    var next = 1
    var kills = 0
    try withWatchdog("killed receivers", seconds: 240) {
      while next <= last {
        var receiver = try shelf.start("ring", "receive", "jobs", shell: "exec \"$@\" >out")
        let wanted = kills < 8 ? 20_000 * (kills + 1) : .max
        let path = shelf.tool.folder.appending("out")
        #expect(
          RegionShelf.eventually(seconds: 120) {
            // The last line tells how far it is.
            let size = (try? FilePathSize.of(path)) ?? 0
            let tail = (try? PatternFile.read(path, max(0, size - 40)..<size + 1)) ?? []
            let lines = String(decoding: tail, as: UTF8.self).split(separator: "\n").dropLast(tail.last == 10 ? 0 : 1)
            let number = lines.last.flatMap { Int($0) } ?? 0
            return number >= wanted || number == last
          })
        receiver.kill()
        kills += 1
        let text = shelf.text("out")
        var numbers = text.split(separator: "\n").compactMap { Int($0) }
        // A killed write may have cut the last line, which then comes again.
        if !text.hasSuffix("\n") { numbers.removeLast() }
        let first = try #require(numbers.first)
        #expect(first <= next && first > next - 257, "begins with \(first), expected is \(next)")
        #expect(numbers == Array(first..<first + numbers.count))
        next = first + numbers.count
      }
    }
    #expect(kills > 3 && sender.wait(seconds: 30) == 0)
  }

  @Test func `a sender that is killed leaves its place to the next at once, and no half message`() throws {
    let shelf = try RegionShelf()
    try shelf.ring("jobs", capacity: "4K")
    try withWatchdog("killed senders") {
      for turn in 0..<5 {
        var sender = try shelf.start(
          "ring", "send", "jobs", shell: "mkfifo p\(turn); yes >p\(turn) & exec \"$@\" <p\(turn)")
        #expect(try RegionShelf.eventually { try shelf.status("jobs").lanes[0].waitingBytes > 3000 })
        let other = try shelf.run("ring", "send", "jobs", input: [65])
        #expect(other.status == 1 && other.errors.contains("a living peer has it"), "\(other)")
        sender.kill()
        #expect(try shelf.status("jobs").lanes[0].isProducerDead)
        // It goes on while the ring is full, once somebody receives.
        var next = try shelf.start("ring", "send", "jobs", shell: "echo next | \"$@\"")
        #expect(try RegionShelf.eventually { try !shelf.status("jobs").lanes[0].isProducerDead })
        let got = try shelf.run("ring", "receive", "jobs", shell: "\"$@\" --timeout 20 | sed /next/q")
        let lines = got.output.split(separator: "\n")
        #expect(
          lines.last == "next" && lines.dropLast().allSatisfy { $0 == "y" } && lines.count > 100, "\(lines.count)")
        #expect(next.wait(seconds: 20) == 0)
      }
    }
  }

  @Test func `output that fails gives nothing back to the ring`() throws {
    let shelf = try RegionShelf()
    try shelf.ring("jobs")
    let input = RegionShelf.lines(1...1000)
    #expect(try shelf.run("ring", "send", "jobs", input: Array(input.utf8)).status == 0)
    let full = try shelf.run("ring", "receive", "jobs", shell: "exec \"$@\" >/dev/full")
    #expect(full.status == 1 && full.errors.contains("cannot write to standard output: No space left"), "\(full)")
    #expect(try shelf.status("jobs").lanes[0].receivedBytes == 0)
    withEvery("signal", in: ["", "trap '' PIPE; "]) { trap in
      // The pipe has no reader from the start.
      let result = try shelf.run(
        "ring", "receive", "jobs", shell: "\(trap){ sleep 0.3; \"$@\"; echo $? >&2; } | true")
      check(result.errors == (trap.isEmpty ? "141\n" : "1\n"), result.errors)
      check(try shelf.status("jobs").lanes[0].receivedBytes == 0)
    }
    #expect(try shelf.run("ring", "receive", "jobs", "--drain").output == input)
  }

  @Test func `times that pass end with 124, and nothing is lost by them`() throws {
    let shelf = try RegionShelf()
    try shelf.ring("jobs", capacity: "64")
    let none = try shelf.run("ring", "receive", "jobs", "--timeout", "0.2")
    #expect(none.status == 124 && none.errors.contains("no message in ring 'jobs' within 0.2 s"), "\(none)")
    // A message of one byte takes 16.
    let full = try shelf.run("ring", "send", "jobs", "--timeout", "0.2", input: Array("1\n2\n3\n4\n5\n6\n".utf8))
    #expect(full.status == 124 && full.errors.contains("record 5 and what follows was not sent"), "\(full)")
    let some = try shelf.run("ring", "receive", "jobs", "--timeout", "0.2", "--count", "9")
    #expect(some.status == 124 && some.output == "1\n2\n3\n4\n" && some.errors.contains("after 4 messages"), "\(some)")
    #expect(try shelf.run("ring", "receive", "jobs", "--timeout", "0").status == 124)
  }

  @Test func `with --drop the newest are dropped, counted and told`() throws {
    let shelf = try RegionShelf()
    try shelf.ring("jobs", capacity: "64")
    let result = try shelf.run("ring", "send", "jobs", "--drop", input: Array("1\n2\n3\n4\n5\n6\n".utf8))
    #expect(
      result.status == 0 && result.errors == "pagewise: 2 messages were dropped: the ring was full.\n", "\(result)")
    #expect(try shelf.status("jobs").lanes[0].droppedMessages == 2)
    #expect(try shelf.run("ring", "receive", "jobs", "--drain").output == "1\n2\n3\n4\n")
  }

  @Test func `a record that is too long is told with its number and the limit, and nothing more is sent`() throws {
    let shelf = try RegionShelf()
    try shelf.ring("jobs", capacity: "64")
    let exact = String(repeating: "x", count: 24)
    let line = try shelf.run("ring", "send", "jobs", input: Array("\(exact)\n\(exact)x\nb\n".utf8))
    #expect(line.status == 1 && line.errors.contains("line 2 has 25 bytes"), "\(line)")
    #expect(line.errors.contains("at most 24. 1 record was sent"))
    let endless = try shelf.run("ring", "send", "jobs", shell: "head -c 10000000 /dev/zero | \"$@\"")
    #expect(endless.status == 1 && endless.errors.contains("line 1 is too long"), "\(endless)")
    let long = try shelf.run("ring", "send", "--framed", "jobs", input: [0xFF, 0xFF, 0xFF, 0xFF, 1])
    #expect(long.status == 1 && long.errors.contains("record 1 has 4,294,967,295 bytes"), "\(long)")
    for (input, words) in [
      ([3, 0, 0, 0, 1, 2], "after 2 of 3 bytes"), ([1, 0, 0, 0, 65, 9], "within record 2, after 1 of 4 bytes"),
    ] as [([UInt8], String)] {
      let cut = try shelf.run("ring", "send", "--framed", "jobs", input: input)
      #expect(cut.status == 1 && cut.errors.contains(words), "\(cut)")
    }
    #expect(try shelf.run("ring", "receive", "jobs", "--drain").output == "\(exact)\nA\n")
  }

  @Test func `an interruption ends waiting with 130, and the ends are free at once`() throws {
    let shelf = try RegionShelf()
    try shelf.ring("jobs", capacity: "64")
    var receiver = try shelf.start("ring", "receive", "jobs", shell: "exec \"$@\" 2>err")
    #expect(try RegionShelf.eventually { try shelf.status("jobs").consumer != .none })
    receiver.terminate()
    #expect(receiver.wait(seconds: 20) == 130)
    #expect(shelf.text("err") == "pagewise: interrupted; 0 messages were received.\n")
    // One waits for room, the other for input.
    for (shell, sent) in [
      ("seq 1 100 >in; exec \"$@\" <in 2>err", 4), ("mkfifo p; (echo 1; sleep 30) >p & exec \"$@\" <p 2>err", 1),
    ] {
      var sender = try shelf.start("ring", "send", "jobs", shell: shell)
      #expect(try RegionShelf.eventually { try shelf.status("jobs").lanes[0].waitingBytes == sent * 16 })
      usleep(50_000)
      sender.terminate()
      #expect(sender.wait(seconds: 20) == 130)
      #expect(shelf.text("err").hasPrefix("pagewise: interrupted; \(sent) record"), "\(shelf.text("err"))")
      #expect(try shelf.status("jobs").lanes[0].producer == .none)
      #expect(try shelf.run("ring", "receive", "jobs", "--drain").lines.count == sent)
    }
  }

  @Test func `a ring is made once, rounded up, and replaced only when nobody is attached`() throws {
    let shelf = try RegionShelf()
    let made = try shelf.run("ring", "create", "jobs", "--capacity", "1000", "--producers", "3", "--json")
    let report = try #require(try made.json()["reports"].items.first)
    #expect(
      report.names == [
        "kind", "name", "path", "identifier", "part", "size_bytes", "capacity_bytes", "producers",
        "message_limit_bytes",
      ])
    #expect(report["capacity_bytes"].number == 1024 && report["producers"].number == 3)
    #expect(report["message_limit_bytes"].number == 504 && report["path"].text == shelf.file("jobs").string)
    let again = try shelf.run("ring", "create", "jobs")
    #expect(again.status == 1 && again.output.isEmpty && again.errors.contains("--replace-unused"), "\(again)")
    var receiver = try shelf.start("ring", "receive", "jobs")
    #expect(try RegionShelf.eventually { try shelf.status("jobs").consumer != .none })
    let used = try shelf.run("ring", "create", "jobs", "--replace-unused")
    #expect(used.status == 1 && used.errors.contains("somebody is attached"), "\(used)")
    receiver.kill()
    #expect(try shelf.run("ring", "create", "jobs", "--replace-unused", "--capacity", "4K").status == 0)
    #expect(try shelf.status("jobs").capacity == 4096)
  }

  @Test func `more producers than lanes are refused, and each lane takes one`() throws {
    let shelf = try RegionShelf()
    try shelf.ring("jobs", producers: 2)
    let wait = "mkfifo p$2$$; (echo 1; sleep 30) >p$2$$ & exec \"$@\" <p$2$$"
    let one = try shelf.start("ring", "send", "jobs", shell: wait)
    let two = try shelf.start("ring", "send", "jobs", shell: wait)
    #expect(try RegionShelf.eventually { try shelf.status("jobs").lanes.allSatisfy { $0.producer != .none } })
    let third = try shelf.run("ring", "send", "jobs", input: [65])
    #expect(third.status == 1 && third.errors.contains("room for 2 producers"), "\(third)")
    let receiver = try shelf.start("ring", "receive", "jobs")
    #expect(try RegionShelf.eventually { try shelf.status("jobs").consumer != .none })
    let second = try shelf.run("ring", "receive", "jobs", "--drain")
    #expect(second.status == 1 && second.errors.contains("a living peer has it"), "\(second)")
    #expect(one.pid != two.pid && !receiver.isOver)
  }

  @Test func `of several rings one must be named, and other kinds are refused`() throws {
    let shelf = try RegionShelf()
    let layout = RegionLayout(.ring("a", capacity: 64), .ring("b", capacity: 64), .event("c"))
    let region = try SharedRegion(creating: layout, named: "many", in: shelf.runtime)
    do { _ = try SharedRegion(creating: RegionLayout(.event("c")), named: "none", in: shelf.runtime) }
    for (arguments, words) in [
      (["many"], "it has 2 rings: say which with --part; for instance a, b"), (["none"], "it has no ring"),
      (["many", "--part", "c"], "it is event"), (["many", "--part", "d"], "no such part"),
    ] {
      let result = try shelf.tool.run(["ring", "receive", "--drain", "--folder", shelf.path.string] + arguments)
      #expect(result.status == 1 && result.errors.contains(words), "\(result)")
    }
    #expect(try shelf.run("ring", "send", "many", "--part", "b", input: [65]).status == 0)
    #expect(try region.ringStatus("b").lanes[0].waitingBytes == 16)
    #expect(try shelf.run("ring", "receive", "many", "--part", "b", "--drain").output == "A\n")
  }

  @Test func `what cannot be: one sentence; wrong usage: status 64`() throws {
    let shelf = try RegionShelf()
    try shelf.ring("jobs")
    let cases: [([String], Int, String)] = [
      (["send", "nobody"], 1, "there is none"), (["receive", "nobody"], 1, "there is none"),
      (["send", "a/b"], 64, "a name has"), (["receive", ""], 64, "a name has"), (["create", ".x"], 64, "a name has"),
      (["send"], 64, "name"), (["receive"], 64, "name"), (["create"], 64, "name"),
      (["create", "n", "--capacity", "63"], 64, "--capacity"),
      (["create", "n", "--capacity", "65G"], 64, "--capacity"),
      (["create", "n", "--capacity", "x"], 64, "--capacity"), (["create", "n", "--producers", "0"], 64, "--producers"),
      (["create", "n", "--producers", "65"], 64, "--producers"),
      (["create", "n", "--capacity", "64G", "--producers", "64"], 64, "1 TiB"),
      (["send", "jobs", "--drop", "--timeout", "1"], 64, "not both"),
      (["send", "jobs", "--timeout", "x"], 64, "--timeout"),
      (["send", "jobs", "--timeout=-1"], 64, "--timeout"), (["send", "jobs", "--timeout", "nan"], 64, "--timeout"),
      (["receive", "jobs", "--drain", "--timeout", "1"], 64, "not both"),
      (["receive", "jobs", "--count", "0"], 64, "--count"),
      (["receive", "jobs", "extra"], 64, "extra"), (["bogus"], 64, "bogus"),
    ]
    withEvery("arguments", in: cases) { arguments, status, words in
      let result = try shelf.tool.run(
        ["ring"] + arguments, input: [65], environment: ["PAGEWISE_RUNTIME_DIR": shelf.path.string])
      check(result.status == status && result.output.isEmpty && result.errors.contains(words), "\(result)")
    }
    let closed = try shelf.run("ring", "send", "jobs", shell: "exec \"$@\" <&-")
    #expect(closed.status == 1 && closed.errors.contains("standard input is closed"), "\(closed)")
    let folder = try shelf.run("ring", "send", "jobs", shell: "exec \"$@\" </")
    #expect(folder.status == 1 && folder.errors.contains("cannot read standard input: Is a directory"), "\(folder)")
    #expect(try shelf.runtime.regions().map(\.name) == ["jobs"])
  }
}

/// The size of a file.
enum FilePathSize {
  static func of(_ path: FilePath) throws -> Int64 {
    let file = try FileDescriptor.open(path, .readOnly)
    defer { try? file.close() }
    return try file.seek(offset: 0, from: .end)
  }
}

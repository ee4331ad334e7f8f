// SPDX-License-Identifier: Apache-2.0

@_spi(Testing) import SharedMemory
import SystemPackage
import _CTestSupport

#if canImport(Glibc)
  import Glibc
#elseif canImport(Darwin)
  import Darwin
#endif

/// Takes part in a region as the test wants it, says what it does on standard output, a line each, and then sleeps until it is killed.
///
///     _RegionPeer make FOLDER NAME              makes a region of events
///     _RegionPeer attach FOLDER NAME            attaches
///     _RegionPeer fork FOLDER NAME              attaches, forks; the child lives on
///     _RegionPeer attach-forked FOLDER NAME     the child attaches for itself
///     _RegionPeer exec FOLDER NAME              attaches, then becomes another program
///     _RegionPeer churn FOLDER NAME             attaches and detaches until it is killed
///     _RegionPeer connect SOCKET                attaches to what is served there
///     _RegionPeer inherit NUMBER                attaches to an inherited descriptor
///     _RegionPeer steal NUMBER                  tries to write to an inherited region that it may only read
///     _RegionPeer signal FOLDER NAME COUNT      signals the event "ping" and waits for "pong", so many times
///     _RegionPeer wait FOLDER NAME              waits for "ping"
///     _RegionPeer produce FOLDER NAME RUN COUNT [PAUSE]
///                                               sends so many messages of run RUN, counting each in "sent" when it was sent, and pauses so many us
///     _RegionPeer lock FOLDER NAME              takes the mutex "account" and keeps it
///     _RegionPeer count FOLDER NAME             counts in "account", two words that must agree
///     _RegionPeer consume FOLDER NAME COUNT     receives until "sent"[1] says that COUNT were handled, see RingModel
///     _RegionPeer broadcast FOLDER NAME LAST [drop]
///                                               sends messages to "ticks" up to number LAST; or drops, counting each in "sent" when it was dropped
///     _RegionPeer follow FOLDER NAME            follows "ticks"; counts in "sent"[3] what must not be
///     _RegionPeer store FOLDER NAME COUNT       stores so many values into "pair": three times the number of each
///     _RegionPeer drop FOLDER NAME              sends to the full "ring" and drops, counting each in "sent" when it was dropped
///     _RegionPeer serve SOCKET                  serves a region there, and ends
///     _RegionPeer serve-beside SOCKET STEP      the same; at the step another one tries as well
///     _RegionPeer clean FOLDER -                leaves regions and removes unused ones until it is killed
///     _RegionPeer await FOLDER NAME             tasks wait for "ring" and for "ping"
///
/// With PAGEWISE_KILL_AT=STEP[:N] it is killed when it comes to that step for the Nth time.
@main
enum RegionPeer {
  static let arguments = CommandLine.arguments

  static func say(_ text: String) {
    let line = Array((text + "\n").utf8)
    _ = write(1, line, line.count)
  }

  static func sleepForEver() -> Never {
    while true { pause() }
  }

  static func main() async {
    guard arguments.count >= 3 else { exit(64) }
    installKillPoint()
    guard arguments[1] == "await" else { return run() }
    do {
      try await awaits()
    } catch {
      say("failed: \(error)")
      exit(1)
    }
  }

  static func awaits() async throws {
    let region = try open()
    let ping = try region.event("ping")
    let waits = Task { _ = try await ping.wait(after: 0) }
    var consumer = try region.consumer(of: "ring")
    say("awaits")
    let count = try await consumer.receive { bytes, _ in bytes.byteCount }
    say("received \(count)")
    waits.cancel()
  }

  static func run() {
    do {
      switch arguments[1] {
      case "connect":
        let region = try SharedRegion(connectingTo: FilePath(arguments[2]))
        try took(region)
      case "inherit":
        let region = try SharedRegion(inheriting: FileDescriptor(rawValue: CInt(arguments[2]) ?? -1))
        try took(region)
      case "steal": steal(CInt(arguments[2]) ?? -1)
      case "churn":
        while true {
          let region = try open()
          say("\(region.token)")
        }
      case "overtaken": try overtaken(FilePath(arguments[2]), at: arguments[3])
      case "fork": try forks(attaching: false)
      case "fork-ends": try forksWithEnds()
      case "attach-forked": try forks(attaching: true)
      case "exec":
        let region = try open()
        say("attached \(region.token)")
        usleep(300_000)
        withExtendedLifetime(region.token) {}
        _ = pgt_become("/bin/sleep", "1000")
        exit(1)
      case "make":
        let layout = RegionLayout(.event("ping"), .event("pong"))
        let region = try SharedRegion(creating: layout, named: arguments[3], in: RuntimeFolder(FilePath(arguments[2])))
        try took(region)
      case "attach":
        let region = try open()
        try took(region)
      case "signal":
        let region = try open()
        let (ping, pong) = (try region.event("ping"), try region.event("pong"))
        say("attached \(region.token)")
        var seen = pong.count
        for _ in 0..<(Int(arguments[4]) ?? 0) {
          ping.signal()
          seen = try pong.wait(after: seen)
        }
        say("done")
      case "wait":
        let region = try open()
        let ping = try region.event("ping")
        say("attached \(region.token)")
        var seen: UInt32 = 0
        while true {
          seen = try ping.wait(after: seen)
          say("woke \(seen)")
        }
      case "heed":
        // Tells by a counter how far it has seen.
        let region = try open()
        let (ping, served) = (try region.event("ping"), try region.counters("served"))
        say("attached \(region.token)")
        var seen: UInt32 = 0
        while true {
          let now = try ping.wait(after: seen)
          served.add(UInt64(now &- seen), at: 0)
          seen = now
        }
      case "lock":
        let region = try open()
        try region.mutex("account").withLock { _ in
          say("locked")
          sleepForEver()
        } recovering: { _ in
          .repaired
        }
      case "count":
        let region = try open()
        let account = try region.mutex("account")
        say("attached \(region.token)")
        while true {
          try account.withLock { bytes in
            bytes.storeBytes(of: bytes.unsafeLoad(as: UInt64.self) + 1, as: UInt64.self)
            bytes.storeBytes(
              of: bytes.unsafeLoad(fromByteOffset: 8, as: UInt64.self) + 1, toByteOffset: 8, as: UInt64.self)
          } recovering: { bytes in
            // Counts what it finds and makes it right.
            let (first, second) = (
              bytes.unsafeLoad(as: UInt64.self), bytes.unsafeLoad(fromByteOffset: 8, as: UInt64.self)
            )
            bytes.storeBytes(
              of: bytes.unsafeLoad(fromByteOffset: 16, as: UInt64.self) + 1, toByteOffset: 16, as: UInt64.self)
            if first != second { bytes.storeBytes(of: first, toByteOffset: 8, as: UInt64.self) }
            return .repaired
          }
        }
      case "produce":
        let region = try open()
        try produce(region, run: UInt64(arguments[4]) ?? 0, count: UInt64(arguments[5]) ?? 0)
        say("done")
      case "consume":
        let region = try open()
        try consume(region, count: UInt64(arguments[4]) ?? 0)
        say("done")
      case "drop":
        let region = try open()
        let dropped = try region.counters("sent")
        var producer = try region.producer(of: "ring")
        for _ in 0..<100 {
          if try !producer.sendOrDrop([UInt8](repeating: 0, count: 16).span.bytes) { dropped.add(1, at: 0) }
        }
      case "serve":
        let region = try SharedRegion(creating: RegionLayout(.event("ping")))
        let server = try region.serve(at: FilePath(arguments[2]))
        say("served \(server.servedCount)")
      case "serve-beside": try serveBeside(FilePath(arguments[2]), at: arguments[3])
      case "store": try store(try open(), count: UInt64(arguments[4]) ?? 0)
      case "clean":
        let folder = RuntimeFolder(FilePath(arguments[2]))
        var round = 0
        while true {
          leave("left-\(round % 5)", in: folder)
          _ = try folder.removeUnused(isDryRun: false)
          round += 1
          if round == 1 { say("cleans") }
        }
      case "broadcast": try broadcast(try open(), to: UInt64(arguments[4]) ?? 0)
      case "follow": try follow(try open())
      default: exit(64)
      }
    } catch {
      say("failed: \(error)")
      exit(1)
    }
  }

  static func open() throws -> SharedRegion {
    try SharedRegion(named: arguments[3], in: RuntimeFolder(FilePath(arguments[2])))
  }

  /// Leaves a trace in the region, then sleeps.
  static func took(_ region: borrowing SharedRegion) throws {
    if region.layout.parts.contains(where: { $0.name == "served" }) { try region.counters("served").add(1, at: 0) }
    say("attached \(region.token)")
    sleepForEver()
  }

  /// Makes a region and leaves it, unless somebody has it.
  static func leave(_ name: String, in folder: RuntimeFolder) {
    let region = try? SharedRegion(
      creating: RegionLayout(.event("e")), named: name, leftover: .replaceUnused, in: folder)
    if region == nil { return }
  }

  static func forks(attaching: Bool) throws {
    var region = try open()
    let events = try region.event("ping")
    say("attached \(region.token)")
    let child = pgt_fork_here()
    if child == 0 {
      do {
        guard region.isForked else { throw SharedMemoryError(.other, "notice the fork of") }
        do {
          _ = try region.event("ping")
          say("child: no error")
        } catch {
          say("child: \(error.code)")
        }
        do {
          _ = try events.wait(after: 0, until: .now)
          say("child: no error")
        } catch {
          say("child: \(error.code)")
        }
        if attaching {
          try region.attachAfterFork()
          say("child attached \(region.token)")
        }
      } catch {
        say("child failed: \(error)")
      }
      // The region lives until here.
      try took(region)
    }
    say("forked \(child)")
    withExtendedLifetime(events) { sleepForEver() }
  }

  /// Has every end of a region, forks, and has the child try them all and give them up.
  static func forksWithEnds() throws {
    let region = try SharedRegion(
      creating: RegionLayout(
        .ring("r", capacity: 256), .broadcast("b", capacity: 256, followers: 1), .cell("c", of: UInt64.self),
        .mutex("m", protecting: 8), .event("e")))
    var producer = try region.producer(of: "r")
    var consumer = try region.consumer(of: "r")
    var writer = try region.broadcastWriter(of: "b")
    var follower = try region.broadcastReader(of: "b", losing: .nothing)
    var cell = try region.cellWriter("c", of: UInt64.self)
    let (mutex, event) = (try region.mutex("m"), try region.event("e"))
    let byte: [UInt8] = [1]
    do {
      var claim = try producer.reserve(8)
      var bytes = claim.mutableBytes
      bytes.storeBytes(of: 7, as: UInt64.self)
      let child = pgt_fork_here()
      if child == 0 {
        claim.commit()
        exit(0)
      }
      var end: CInt = 0
      guard waitpid(child, &end, 0) == child, end == 0 else { return say("the child ended with \(end)") }
      claim.abort()
      guard try consumer.tryReceive({ _, _ in true }) == nil else { return say("the child has sent a claim") }
    }
    guard try producer.trySend(byte.span.bytes), try writer.trySend(byte.span.bytes) else { exit(1) }
    let child = pgt_fork_here()
    if child == 0 {
      say("send: \(try attempt { _ = try producer.trySend(byte.span.bytes) })")
      say("send in place: \(try attempt { _ = try producer.trySend(upTo: 1) { $0.byteCount } })")
      say("receive: \(try attempt { _ = try consumer.tryReceive { _, _ in true } })")
      say("receive a batch: \(try attempt { _ = try consumer.tryReceive(upTo: 9) { _, _ in } })")
      say("broadcast: \(try attempt { _ = try writer.trySend(byte.span.bytes) })")
      say("follow: \(try attempt { _ = try follower.tryReceive { _, _ in true } })")
      say("store: \(try attempt { try cell.store(1) })")
      say("lock: \(try attempt { try mutex.withLock { _ in } recovering: { _ in .repaired } })")
      say("wait: \(try attempt { _ = try event.wait(after: 0, until: .now) })")
      say("open: \(try attempt { _ = try region.event("e") })")
      return
    }
    var end: CInt = 0
    guard waitpid(child, &end, 0) == child, end == 0 else { return say("the child ended with \(end)") }
    // The child has given its copies of the ends up, and these are as they were.
    guard try producer.trySend(byte.span.bytes), try writer.trySend(byte.span.bytes) else { return say("no room") }
    let (received, followed) = (
      try consumer.tryReceive(upTo: 9) { _, _ in }, try follower.tryReceive(upTo: 9) { _, _ in }
    )
    try cell.store(2)
    let status = try region.ringStatus("r")
    let isKept = status.consumer == region.token && status.lanes[0].producer == region.token
    say("parent: \(received) \(followed) \(isKept)")
  }

  #if PAGEWISE_KILL_POINTS
    nonisolated(unsafe) static var place: (folder: RuntimeFolder, step: String)? = nil
    nonisolated(unsafe) static var overtaker: RegionHolder? = nil

    final class RegionHolder {
      let region: SharedRegion
      init(_ region: consuming SharedRegion) { self.region = region }
    }

    /// At a step between the opening of a region's file and its lock, its name is taken away and given to a new region.
    static func overtaken(_ folder: FilePath, at step: String) throws {
      let folder = RuntimeFolder(folder)
      let layout = RegionLayout(.event("e"))
      _ = try SharedRegion(creating: layout, named: "r", in: folder).token
      place = (folder, step)
      KillPoints.hook = { name in
        guard let (folder, step) = RegionPeer.place, String(cString: name) == step else { return }
        RegionPeer.place = nil
        try? SharedRegion.remove(named: "r", in: folder)
        if let region = try? SharedRegion(creating: RegionLayout(.event("e")), named: "r", in: folder) {
          RegionPeer.overtaker = RegionHolder(region)
        }
      }
      if step.hasPrefix("region.remove") {
        say("\(try attempt { try SharedRegion.remove(named: "r", in: folder) })")
      } else {
        let region = try SharedRegion(named: "r", in: folder)
        say(region.identifier == overtaker?.region.identifier ? "the new one" : "another one")
      }
      let now = try SharedRegionReader(named: "r", in: folder).identifier
      say(now == overtaker?.region.identifier ? "kept" : "not kept")
    }

    nonisolated(unsafe) static var socket: (path: FilePath, step: String)? = nil

    /// At a step of one server another one wants the same socket, and ends; says what became of both.
    static func serveBeside(_ path: FilePath, at step: String) throws {
      socket = (path, step)
      KillPoints.hook = { name in
        guard let (path, step) = RegionPeer.socket, String(cString: name) == step else { return }
        RegionPeer.socket = nil
        let other = try? SharedRegion(creating: RegionLayout(.event("ping")))
        guard let other else { return }
        RegionPeer.say((try? RegionPeer.attempt { _ = try other.serve(at: path).servedCount }) ?? "another error")
      }
      let region = try SharedRegion(creating: RegionLayout(.event("ping")))
      let server = try region.serve(at: path)
      let reached = try SharedRegion(connectingTo: path)
      say(reached.identifier == region.identifier ? "reached" : "another one is reached")
      _ = server.servedCount
    }
  #else
    static func serveBeside(_ path: FilePath, at step: String) throws { exit(64) }
    static func overtaken(_ folder: FilePath, at step: String) throws { exit(64) }
  #endif

  static func attempt(_ body: () throws -> Void) throws -> String {
    do {
      try body()
      return "no error"
    } catch let error as SharedMemoryError {
      return "\(error.code)"
    }
  }

  static func steal(_ descriptor: CInt) {
    let again = Glibc.open("/proc/self/fd/\(descriptor)", O_RDWR | O_CLOEXEC)
    say(again < 0 ? "open refused" : "opened")
    for (name, file) in [("own", descriptor), ("again", again)] where file >= 0 {
      let map = mmap(nil, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0)
      say(map == MAP_FAILED ? "\(name): map refused" : "\(name): mapped")
    }
    let map = mmap(nil, 4096, PROT_READ, MAP_SHARED, descriptor, 0)
    if map == MAP_FAILED { return say("read: map refused") }
    say(mprotect(map, 4096, PROT_READ | PROT_WRITE) == 0 ? "mprotect: allowed" : "mprotect: refused")
  }

  // MARK: Rings

  /// A message: its run, its number in the run, and bytes that follow from both.
  static func produce(_ region: borrowing SharedRegion, run: UInt64, count: UInt64) throws {
    let sent = try region.counters("sent")
    let pause = arguments.count > 6 ? UInt32(arguments[6]) ?? 0 : 0
    var producer = try region.producer(of: "ring")
    say("attached \(region.token)")
    for number in 0..<count {
      let length = Int(run &* 7 &+ number &* 13) % 50
      try producer.send(upTo: 16 + length, type: UInt16(truncatingIfNeeded: run)) { span in
        span.storeBytes(of: run, toByteOffset: 0, as: UInt64.self)
        span.storeBytes(of: number, toByteOffset: 8, as: UInt64.self)
        for offset in 0..<length {
          span.storeBytes(
            of: UInt8(truncatingIfNeeded: Int(run &+ number) + offset), toByteOffset: 16 + offset, as: UInt8.self)
        }
        return 16 + length
      }
      sent.add(1, at: 0)
      if pause > 0 { usleep(pause) }
    }
  }

  /// Handles the messages of run 0 in order. "sent"[1] counts those that were handled, [2] those that came again, [3] all that must not be.
  static func consume(_ region: borrowing SharedRegion, count: UInt64) throws {
    let marks = try region.counters("sent")
    var consumer = try region.consumer(of: "ring")
    say("attached \(region.token)")
    while marks[1] < count {
      try consumer.receive(upTo: 4, until: .after(.seconds(20))) { bytes, _ in
        guard bytes.byteCount >= 16 else {
          _ = marks.add(1, at: 3)
          return
        }
        let number = bytes.unsafeLoadUnaligned(fromByteOffset: 8, as: UInt64.self)
        let length = Int(number &* 13) % 50
        var isWhole = bytes.byteCount == 16 + length
        for offset in 0..<length where isWhole {
          isWhole =
            bytes.unsafeLoad(fromByteOffset: 16 + offset, as: UInt8.self)
            == UInt8(truncatingIfNeeded: Int(number) + offset)
        }
        let handled = marks[1]
        if !isWhole || number > handled { marks.add(1, at: 3) }
        // Handled and counted by one that was killed before it could give the room back.
        if number < handled { marks.add(1, at: 2) } else { marks.add(1, at: 1) }
      }
    }
  }

  static func store(_ region: consuming SharedRegion, count: UInt64) throws {
    var number = try region.cell("pair", of: UInt64.self).loadNumbered()?.number ?? 0
    var writer = try region.cellWriter("pair", of: UInt64.self)
    for _ in 0..<count {
      number += 1
      try writer.store(number &* 3)
    }
  }

  // MARK: Broadcasts

  /// Message n holds n, so many times as follows from it.
  static func broadcast(_ region: consuming SharedRegion, to last: UInt64) throws {
    var writer = try region.broadcastWriter(of: "ticks")
    // The number that the next message will have.
    var number: UInt64 = 1
    if let found = try latest(region) { number = found + 1 }
    let dropped = arguments.count > 5 ? try region.counters("sent") : nil
    while number <= last {
      let words = [UInt64](repeating: number, count: Int(number % 7 + 1))
      if let dropped {
        // A number stays until it was sent.
        guard try writer.sendOrDrop(words.span.bytes) else {
          dropped.add(1, at: 0)
          continue
        }
      } else {
        try writer.send(words.span.bytes)
      }
      number += 1
    }
  }

  static func latest(_ region: borrowing SharedRegion) throws -> UInt64? {
    var reader = try region.broadcastReader(of: "ticks", from: .latest(1))
    return try reader.tryReceive { $1.number }
  }

  static func follow(_ region: consuming SharedRegion) throws {
    let marks = try region.counters("sent")
    var reader = try region.broadcastReader(of: "ticks", losing: .nothing)
    var last: UInt64? = nil
    while true {
      try reader.receive(upTo: 5) { bytes, message in
        let isWhole =
          bytes.byteCount == Int(message.number % 7 + 1) * 8
          && (0..<bytes.byteCount / 8).allSatisfy {
            bytes.unsafeLoadUnaligned(fromByteOffset: $0 * 8, as: UInt64.self) == message.number
          }
        if !isWhole || message.lostBefore > 0 || last.map({ $0 + 1 != message.number }) ?? false {
          marks.add(1, at: 3)
        }
        last = message.number
      }
    }
  }

  // MARK: Kill points

  nonisolated(unsafe) static var killStep = ""
  nonisolated(unsafe) static var passesLeft = 0

  static func installKillPoint() {
    #if PAGEWISE_KILL_POINTS
      guard let wanted = getenv("PAGEWISE_KILL_AT") else { return }
      let parts = String(cString: wanted).split(separator: ":")
      killStep = String(parts[0])
      passesLeft = parts.count > 1 ? Int(parts[1]) ?? 1 : 1
      KillPoints.hook = { name in
        guard strcmp(UnsafeRawPointer(name).assumingMemoryBound(to: CChar.self), RegionPeer.killStep) == 0 else {
          return
        }
        RegionPeer.passesLeft -= 1
        if RegionPeer.passesLeft == 0 { kill(getpid(), SIGKILL) }
      }
    #endif
  }
}

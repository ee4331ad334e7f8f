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

  static func main() {
    guard arguments.count >= 3 else { exit(64) }
    installKillPoint()
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
      case "fork": try forks(attaching: false)
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
    say("child \(child)")
    withExtendedLifetime(events) { sleepForEver() }
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

// SPDX-License-Identifier: Apache-2.0

import SharedMemory
import SystemPackage
import Testing
import _CTestSupport
import _TestSupport

#if canImport(Glibc)
  import Glibc
#elseif canImport(Darwin)
  import Darwin
#endif

/// A region that several tasks have in common.
final class RegionHolder: Sendable {
  let region: SharedRegion
  init(_ region: consuming SharedRegion) { self.region = region }
}

/// Tasks that wait for other processes.
@Suite struct AsyncTests {
  static func region(_ parts: RegionLayout.Part...) throws -> SharedRegion {
    var layout = RegionLayout()
    for part in parts { layout.add(part) }
    return try SharedRegion(creating: layout)
  }

  static func holder(_ parts: RegionLayout.Part...) throws -> RegionHolder {
    var layout = RegionLayout()
    for part in parts { layout.add(part) }
    return RegionHolder(try SharedRegion(creating: layout))
  }

  @Test(.timeLimit(.minutes(10))) func `a task that waits for a message is resumed by it`() async throws {
    let shared = try Self.holder(.ring("r", capacity: 1024))
    async let received: [UInt8] = {
      var consumer = try shared.region.consumer(of: "r")
      var bytes: [UInt8] = []
      for _ in 0..<50 {
        bytes.append(try await consumer.receive { span, _ in span.unsafeLoad(as: UInt8.self) })
      }
      return bytes
    }()
    var producer = try shared.region.producer(of: "r")
    for value in 0..<50 as Range<UInt8> {
      // At first it is asleep, later not.
      if value < 10 { try await Task.sleep(for: .milliseconds(3)) }
      let one = [value]
      try await producer.send(one.span.bytes)
    }
    #expect(try await received == Array(0..<50))
  }

  @Test(.timeLimit(.minutes(10))) func `a task that sends is slowed down by a slow consumer and loses nothing`()
    async throws
  {
    let shared = try Self.holder(.ring("r", capacity: 256))
    let count: UInt64 = RegionScene.isLong ? 1_000_000 : 20_000
    async let sum: UInt64 = {
      var consumer = try shared.region.consumer(of: "r")
      var next: UInt64 = 0
      while next < count {
        try await consumer.receive(upTo: 7) { span, _ in
          #expect(span.unsafeLoadUnaligned(as: UInt64.self) == next)
          next += 1
        }
        if next % 1000 < 7 { try await Task.sleep(for: .milliseconds(1)) }
      }
      return next
    }()
    var producer = try shared.region.producer(of: "r")
    for value in 0..<count {
      let words = [value]
      try await producer.send(words.span.bytes)
    }
    #expect(try await sum == count)
  }

  @Test(.timeLimit(.minutes(10))) func `batches come until the task is cancelled, and an unhandled one comes again`()
    async throws
  {
    let shared = try Self.holder(.ring("r", capacity: 4096, producers: 2))
    var producer = try shared.region.producer(of: "r")
    let got = Locked<[[UInt8]]>([])
    let task = Task {
      for try await batch in try shared.region.consumer(of: "r").batches(upTo: 4) {
        #expect(batch.count <= 4 && !batch.isEmpty && batch.allSatisfy { $0.type == UInt16($0.bytes.count) })
        got.withLock { $0 += batch.map { Array($0.bytes) } }
        if got.withLock({ $0.count }) >= 10 { break }
      }
    }
    for value in 0..<10 as Range<UInt8> {
      let bytes = [UInt8](repeating: value, count: Int(value))
      try await producer.send(bytes.span.bytes, type: UInt16(value))
      if value == 5 { try await Task.sleep(for: .milliseconds(5)) }
    }
    try await task.value
    #expect(got.withLock { $0 } == (0..<10 as Range<UInt8>).map { [UInt8](repeating: $0, count: Int($0)) })
    // The loop ended within its last batch, which was not given back.
    let again = Task {
      var batches = try shared.region.consumer(of: "r").batches().makeAsyncIterator()
      let first = try await batches.next()
      #expect((1...4).contains(first?.count ?? 0) && first?.last?.bytes.count == 9)
      do {
        _ = try await batches.next()
        return false
      } catch is CancellationError {
        return true
      }
    }
    try await Task.sleep(for: .milliseconds(20))
    again.cancel()
    #expect(try await again.value)
    // All was given back when the next one was asked for.
    var consumer = try shared.region.consumer(of: "r")
    check(try consumer.tryReceive { _, _ in true } == nil, "nothing is left")
  }

  @Test(.timeLimit(.minutes(10)))
  func `batches of a broadcast hold a follower's room until the next, and count what others lose`()
    async throws
  {
    let shared = try Self.holder(.broadcast("b", capacity: 512, followers: 1))
    var writer = try shared.region.broadcastWriter(of: "b")
    func send(_ range: ClosedRange<UInt64>) throws -> Int {
      var sent = 0
      for value in range {
        guard try writer.trySend([value].span.bytes, type: UInt16(value)) else { break }
        sent += 1
      }
      return sent
    }
    let followed = try shared.region.broadcastReader(of: "b", losing: .nothing).batches(upTo: 10)
    let lost = try shared.region.broadcastReader(of: "b").batches()
    // Sixteen messages fill it.
    #expect(try send(1...20) == 16)
    do {
      var iterator = followed.makeAsyncIterator()
      let batch = try #require(try await iterator.next())
      #expect(batch.map(\.header.number) == Array(1...10) && batch.map { UInt64($0.header.type) } == Array(1...10))
      #expect(batch.allSatisfy { $0.bytes.withUnsafeBytes { $0.loadUnaligned(as: UInt64.self) } == $0.header.number })
      // It is not given back while it is being handled.
      #expect(try send(17...17) == 0)
    }
    // An iterator that was given up in the middle: its messages come again.
    var iterator = followed.makeAsyncIterator()
    try #require(try await iterator.next()?.map(\.header.number) == Array(1...10))
    try #require(try await iterator.next()?.map(\.header.number) == Array(11...16))
    try #require(try send(17...40) == 10)
    try #require(try await iterator.next()?.map(\.header.number) == Array(17...26))
    var loser = lost.makeAsyncIterator()
    let batch = try #require(try await loser.next())
    #expect(batch.first.map { $0.header.lostBefore == $0.header.number - 1 } == true)
    #expect(batch.last?.header.number == 26 && batch.dropFirst().allSatisfy { $0.header.lostBefore == 0 })
    // Suspended until there is one; a second iterator meanwhile is told.
    let task = Task {
      var first = loser
      return try await first.next()?.map(\.header.number)
    }
    try await Task.sleep(for: .milliseconds(20))
    var second = lost.makeAsyncIterator()
    do {
      _ = try await second.next()
      Issue.record("two at a time")
    } catch let error as SharedMemoryError {
      #expect(error.code == .taken)
    }
    #expect(try send(27...27) == 1)
    #expect(try await task.value == [27])
  }

  @Test(.timeLimit(.minutes(10)))
  func `while an iterator has a batch another one gets none, and a copy is the same iterator`()
    async throws
  {
    let shared = try Self.holder(.ring("r", capacity: 256))
    var producer = try shared.region.producer(of: "r")
    for value in 0..<4 as Range<UInt8> { check(try producer.trySend([value].span.bytes), "room") }
    let batches = try shared.region.consumer(of: "r").batches(upTo: 1)
    func value(_ iterator: inout ChannelBatches<RingBatch>.AsyncIterator) async throws -> UInt8? {
      try await iterator.next()?.first?.bytes.first
    }
    do {
      var one = batches.makeAsyncIterator()
      var two = batches.makeAsyncIterator()
      try #require(try await value(&one) == 0)
      do {
        _ = try await two.next()
        Issue.record("the batch of the first one is open")
      } catch let error as SharedMemoryError {
        #expect(error.code == .taken)
      }
      #expect(try shared.region.ringStatus("r").lanes[0].receivedBytes == 0)
      var copy = one
      try #require(try await value(&copy) == 1)
      try #require(try await value(&one) == 2)
    }
    // Given up with message 2 open.
    var last = batches.makeAsyncIterator()
    try #require(try await value(&last) == 2)
    try #require(try await value(&last) == 3)
  }

  @Test(.timeLimit(.minutes(10))) func `a wait whose region lost its pages ends with an error`() async throws {
    let folder = try NamedRegionTests.folder()
    let layout = RegionLayout(.ring("r", capacity: 64), .broadcast("b", capacity: 64), .event("e"))
    let shared = RegionHolder(try SharedRegion(creating: layout, named: "r", in: RuntimeFolder(folder.path)))
    let endings = Locked<[SharedMemoryError.Code?]>([])
    // Without deadlines, at which they would look by themselves.
    func start(_ body: @escaping @Sendable () async throws -> Void) -> Task<Void, Never> {
      Task {
        do { try await body() } catch { endings.withLock { $0.append((error as? SharedMemoryError)?.code) } }
      }
    }
    let tasks = [
      start {
        var consumer = try shared.region.consumer(of: "r")
        try await consumer.receive { _, _ in }
      },
      start {
        var reader = try shared.region.broadcastReader(of: "b")
        try await reader.receive { _, _ in }
      },
      start { _ = try await shared.region.event("e").wait(after: 0) },
    ]
    try await Task.sleep(for: .milliseconds(100))
    #expect(truncate(folder.appending("r.region").string, 0) == 0)
    #expect(try await Self.eventually { endings.withLock { $0.count } == 3 })
    for task in tasks { task.cancel() }
    for task in tasks { await task.value }
    #expect(endings.withLock { $0 } == [.faulted, .faulted, .faulted])
  }

  /// Waits for something without blocking a thread.
  private static func eventually(_ condition: () -> Bool) async throws -> Bool {
    for _ in 0..<2000 {
      if condition() { return true }
      try await Task.sleep(for: .milliseconds(10))
    }
    return false
  }

  @Test(.timeLimit(.minutes(10))) func `a writer that waits goes on when its follower is killed`() async throws {
    let folder = try NamedRegionTests.folder()
    let layout = RegionLayout(.broadcast("ticks", capacity: 512, followers: 2), .counters("sent", count: 4))
    let shared = RegionHolder(try SharedRegion(creating: layout, named: "r", in: RuntimeFolder(folder.path)))
    var child = try RunningChild([RegionScene.peer, "follow", folder.path.string, "r"])
    #expect(RegionScene.eventually { (try? shared.region.broadcastStatus("ticks").followers.count) == 1 })
    #expect(kill(child.pid, SIGSTOP) == 0)
    let sent = Locked<UInt64>(0)
    let task = Task {
      var writer = try shared.region.broadcastWriter(of: "ticks")
      for number in 1...100 as ClosedRange<UInt64> {
        // Without a deadline, at which it would look by itself.
        try await writer.send([number].span.bytes)
        sent.withLock { $0 = number }
      }
    }
    // Stopped is not dead.
    try await Task.sleep(for: .milliseconds(600))
    #expect((1...16).contains(sent.withLock { $0 }))
    child.kill()
    #expect(try await Self.eventually { sent.withLock { $0 } == 100 })
    task.cancel()
    _ = try? await task.value
  }

  @Test func `an armed descriptor does not keep a region that its end has given up`() throws {
    let folder = try NamedRegionTests.folder()
    let runtime = RuntimeFolder(folder.path)
    let readiness = try ReadinessDescriptor()
    let other = try Self.region(.ring("r", capacity: 64))
    var otherConsumer = try other.consumer(of: "r")
    for armsAgain in [false, true] {
      do {
        let region = try SharedRegion(
          creating: RegionLayout(.ring("r", capacity: 64), .broadcast("b", capacity: 64)), named: "a", in: runtime)
        var reader = try region.broadcastReader(of: "b")
        check(try reader.arm(readiness), "there is nothing")
        var consumer = try region.consumer(of: "r")
        check(try consumer.arm(readiness), "there is nothing")
        if armsAgain { check(try otherConsumer.arm(readiness), "there is nothing") }
      }
      #expect(RegionScene.eventually { (try? runtime.region(named: "a")?.isUsed) == false })
    }
    // What it was armed for since is still told.
    var producer = try other.producer(of: "r")
    try producer.send([1 as UInt8].span.bytes)
    var one = pollfd(fd: readiness.descriptor.rawValue, events: Int16(POLLIN), revents: 0)
    #expect(poll(&one, 1, 10_000) == 1)
  }

  @Test(.timeLimit(.minutes(10))) func `a cancelled wait ends, and its channel works on`() async throws {
    let shared = try Self.holder(
      .ring("r", capacity: 64), .ring("s", capacity: 64), .broadcast("b", capacity: 64, followers: 1), .event("e"))
    func isCancelled(_ body: @escaping @Sendable () async throws -> Void) async throws -> Bool {
      let task = Task {
        do {
          try await body()
          return false
        } catch is CancellationError {
          return true
        }
      }
      if Bool.random() { try await Task.sleep(for: .milliseconds(5)) }
      task.cancel()
      return try await task.value
    }
    let bytes = [UInt8](repeating: 3, count: 16)
    for _ in 0..<20 {
      #expect(
        try await isCancelled {
          var consumer = try shared.region.consumer(of: "r")
          try await consumer.receive { _, _ in }
        })
      #expect(
        try await isCancelled {
          var producer = try shared.region.producer(of: "s")
          while true { try await producer.send(bytes.span.bytes) }
        })
      #expect(
        try await isCancelled {
          var reader = try shared.region.broadcastReader(of: "b")
          try await reader.receive { _, _ in }
        })
      #expect(
        try await isCancelled { _ = try await shared.region.event("e").wait(after: shared.region.event("e").count) })
    }
    var consumer = try shared.region.consumer(of: "s")
    check(try consumer.tryReceive { span, _ in span.byteCount } == 16, "what was sent is there")
  }

  @Test(.timeLimit(.minutes(10))) func `deadlines end waits`() async throws {
    let shared = try Self.holder(.ring("r", capacity: 64), .broadcast("b", capacity: 64), .event("e"))
    var consumer = try shared.region.consumer(of: "r")
    var reader = try shared.region.broadcastReader(of: "b")
    var codes: [SharedMemoryError.Code?] = []
    for deadline in [Deadline.now, .after(.milliseconds(5)), .after(.milliseconds(400))] {
      do { try await consumer.receive(until: deadline) { _, _ in () } } catch {
        codes.append((error as? SharedMemoryError)?.code)
      }
      do { try await reader.receive(until: deadline) { _, _ in () } } catch {
        codes.append((error as? SharedMemoryError)?.code)
      }
      do { _ = try await shared.region.event("e").wait(after: 0, until: deadline) } catch {
        codes.append((error as? SharedMemoryError)?.code)
      }
    }
    #expect(codes == [SharedMemoryError.Code?](repeating: .timedOut, count: 9))
  }

  @Test(.timeLimit(.minutes(10))) func `more tasks wait than there are threads, and than the kernel takes words`()
    async throws
  {
    let count = 300
    var layout = RegionLayout()
    for index in 0..<count { layout.add(.event("e\(index)")) }
    let shared = RegionHolder(try SharedRegion(creating: layout))
    let started = Locked(0)
    try await withThrowingTaskGroup(of: UInt32.self) { group in
      for index in 0..<count {
        let event = try shared.region.event("e\(index)")
        group.addTask {
          started.withLock { $0 += 1 }
          return try await event.wait(after: 0)
        }
      }
      // The pool is free while all wait.
      while started.withLock({ $0 }) < count { try await Task.sleep(for: .milliseconds(1)) }
      for index in (0..<count).reversed() { try shared.region.event("e\(index)").signal() }
      for try await value in group { #expect(value == 1) }
    }
  }

  @Test(.timeLimit(.minutes(10))) func `a broadcast reaches tasks in the order of its messages`() async throws {
    let shared = try Self.holder(.broadcast("b", capacity: 1024, followers: 3))
    try await withThrowingTaskGroup(of: UInt64.self) { group in
      let ready = Locked(0)
      for _ in 0..<3 {
        group.addTask {
          var reader = try shared.region.broadcastReader(of: "b", losing: .nothing)
          ready.withLock { $0 += 1 }
          var last: UInt64 = 0
          while last < 5000 {
            try await reader.receive(upTo: 10) { span, message in
              #expect(message.number == last + 1 && span.unsafeLoadUnaligned(as: UInt64.self) == message.number)
              last = message.number
            }
          }
          return last
        }
      }
      while ready.withLock({ $0 }) < 3 { try await Task.sleep(for: .milliseconds(1)) }
      var writer = try shared.region.broadcastWriter(of: "b")
      for value in 1...5000 as ClosedRange<UInt64> {
        let words = [value]
        try await writer.send(words.span.bytes)
      }
      for try await last in group { #expect(last == 5000) }
    }
  }

  // MARK: Patience

  /// Killed after making something and before waking: the step before a ring is its fence, and the first ring is that of the beginning.
  private static func victim(_ folder: FilePath, _ verb: [String], at step: String) throws {
    var child = try RunningChild(
      [RegionScene.peer, verb[0], folder.string, "r"] + verb.dropFirst(), environment: ["PAGEWISE_KILL_AT": step])
    #expect(child.wait(seconds: 20) == 256 + Int(SIGKILL), "\(step) was not reached")
  }

  @Test(.timeLimit(.minutes(10)), .enabled("debug builds only") { EventTests.killPointsAreThere() })
  func `what a killed peer made and woke nobody for is found by the tasks that wait`() async throws {
    let folder = try NamedRegionTests.folder()
    let layout = RegionLayout(
      .ring("ring", capacity: 256, producers: 2), .broadcast("ticks", capacity: 512, followers: 2), .event("ping"),
      .event("pong"), .counters("sent", count: 4))
    let shared = RegionHolder(try SharedRegion(creating: layout, named: "r", in: RuntimeFolder(folder.path)))
    async let message = {
      var consumer = try shared.region.consumer(of: "ring")
      return try await consumer.receive { bytes, _ in bytes.byteCount }
    }()
    async let tick = {
      var reader = try shared.region.broadcastReader(of: "ticks", from: .oldest)
      return try await reader.receive { $1.number }
    }()
    async let ping = try shared.region.event("ping").wait(after: 0)
    // The second lane is the victim's.
    let first = try shared.region.producer(of: "ring")
    defer { _ = first.laneIndex }
    // All of them sleep: each victim is killed without a successor.
    try await Task.sleep(for: .milliseconds(100))
    try Self.victim(folder.path, ["produce", "1", "1"], at: "bell.ring.fence:2")
    #expect(try await message >= 16)
    try Self.victim(folder.path, ["broadcast", "1"], at: "bell.ring.fence:2")
    #expect(try await tick == 1)
    try Self.victim(folder.path, ["signal", "1"], at: "event.signal.fence")
    #expect(try await ping == 1)
  }

  @Test(.timeLimit(.minutes(10)), .enabled("debug builds only") { EventTests.killPointsAreThere() })
  func `the room that a killed consumer gave back and woke nobody for is found by the task that waits`() async throws {
    let folder = try NamedRegionTests.folder()
    let layout = RegionLayout(.ring("ring", capacity: 64), .counters("sent", count: 4))
    let shared = RegionHolder(try SharedRegion(creating: layout, named: "r", in: RuntimeFolder(folder.path)))
    let sent = Locked(0)
    async let last: Void = {
      var producer = try shared.region.producer(of: "ring")
      let bytes = [UInt8](repeating: 0, count: 24)
      for _ in 0..<3 {
        try await producer.send(bytes.span.bytes)
        sent.withLock { $0 += 1 }
      }
    }()
    while sent.withLock({ $0 }) < 2 { try await Task.sleep(for: .milliseconds(1)) }
    try await Task.sleep(for: .milliseconds(100))
    try Self.victim(folder.path, ["consume", "9"], at: "bell.ring.fence:2")
    try await last
    #expect(sent.withLock { $0 } == 3)
  }

  @Test(.enabled("debug builds only") { EventTests.killPointsAreThere() })
  func `a descriptor tells what a killed peer made and woke nobody for, and not that nothing came`() throws {
    let folder = try NamedRegionTests.folder()
    let layout = RegionLayout(.ring("ring", capacity: 256), .counters("sent", count: 4))
    let region = try SharedRegion(creating: layout, named: "r", in: RuntimeFolder(folder.path))
    var consumer = try region.consumer(of: "ring")
    let readiness = try ReadinessDescriptor()
    func isReadable(_ milliseconds: CInt) -> Bool {
      var one = pollfd(fd: readiness.descriptor.rawValue, events: Int16(POLLIN), revents: 0)
      return poll(&one, 1, milliseconds) == 1
    }
    check(try consumer.arm(readiness), "there is nothing")
    #expect(!isReadable(600), "its patience ended, and nothing was there")
    try Self.victim(folder.path, ["produce", "1", "1"], at: "bell.ring.fence:2")
    #expect(isReadable(10_000))
    check(try consumer.tryReceive { _, _ in true } == true, "received")
  }

  /// As an event loop does it.
  @Test func `a descriptor becomes readable when there is something`() throws {
    let region = try Self.region(.ring("r", capacity: 1024), .broadcast("b", capacity: 1024))
    var consumer = try region.consumer(of: "r")
    var reader = try region.broadcastReader(of: "b")
    let readiness = try ReadinessDescriptor()
    func isReadable(_ milliseconds: CInt) -> Bool {
      var one = pollfd(fd: readiness.descriptor.rawValue, events: Int16(POLLIN), revents: 0)
      return poll(&one, 1, milliseconds) == 1
    }
    let bytes: [UInt8] = [1]
    for _ in 0..<20 {
      check(try consumer.arm(readiness), "there is nothing")
      var producer = try region.producer(of: "r")
      try producer.send(bytes.span.bytes)
      #expect(isReadable(10_000))
      readiness.clear()
      check(try !consumer.arm(readiness), "there is something")
      check(try consumer.tryReceive { _, _ in true } == true, "received")
      check(try reader.arm(readiness), "there is nothing")
      var writer = try region.broadcastWriter(of: "b")
      try writer.send(bytes.span.bytes)
      #expect(isReadable(10_000))
      readiness.clear()
      check(try reader.tryReceive { _, _ in true } == true, "received")
    }
  }

  @Test(.enabled("needs /proc") { access("/proc/self/stat", R_OK) == 0 })
  func `a process whose tasks wait uses no processor`() throws {
    let folder = try NamedRegionTests.folder()
    let region = try SharedRegion(
      creating: RegionLayout(.ring("ring", capacity: 1024), .event("ping")), named: "r",
      in: RuntimeFolder(folder.path))
    var child = try RunningChild([RegionScene.peer, "await", folder.path.string, "r"])
    #expect(RegionScene.eventually { child.output.contains("awaits") })
    usleep(50_000)
    /// Hundredths of a second of processor time.
    func ticks() -> Int {
      guard let file = try? FileDescriptor.open("/proc/\(child.pid)/stat", .readOnly) else { return -1 }
      defer { try? file.close() }
      var bytes = [UInt8](repeating: 0, count: 4096)
      let count = (try? bytes.withUnsafeMutableBytes { try file.read(into: $0) }) ?? 0
      let fields = String(decoding: bytes.prefix(count), as: UTF8.self).split(separator: ")").last?.split(
        separator: " ")
      return (fields?[11]).flatMap { Int($0) }! + (fields?[12]).flatMap { Int($0) }!
    }
    let before = ticks()
    sleep(1)
    // A loop that looked again and again would use about 100.
    #expect(ticks() - before <= 20)
    var producer = try region.producer(of: "ring")
    let bytes: [UInt8] = [1]
    try producer.send(bytes.span.bytes)
    #expect(RegionScene.eventually { child.output.contains("received 1") })
    child.kill()
  }
}

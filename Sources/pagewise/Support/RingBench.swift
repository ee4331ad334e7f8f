// SPDX-License-Identifier: Apache-2.0

internal import SharedMemory
internal import SystemPackage

#if canImport(Glibc)
  internal import Glibc
#elseif canImport(Musl)
  internal import Musl
#elseif canImport(Darwin)
  internal import Darwin
#endif

/// Two processes and a ring in each direction, measured by the first of them.
final class RingBench {
  static let capacity = 1 << 20
  static let pingSize = 64
  static let streamSizes = [64, 1024, 65_536]
  /// The hidden verb that the second process runs.
  static let peerVerb = "bench-peer"

  /// What a message is for.
  enum Mark {
    static let ready: UInt16 = 0
    static let ping: UInt16 = 1
    static let bytes: UInt16 = 2
    static let end: UInt16 = 3
    static let quit: UInt16 = 4
  }

  enum Failure: Error, CustomStringConvertible {
    case notStarted(Errno)
    case ended
    case interrupted

    var description: String {
      switch self {
      case .notStarted(let reason):
        "cannot start the second process: \(reason). Check that the program can be run again"
      case .ended: "the second process ended before its time. Check what killed it, for instance the kernel's log"
      case .interrupted: "interrupted"
      }
    }
  }

  static var layout: RegionLayout {
    RegionLayout(.ring("there", capacity: capacity), .ring("back", capacity: 1 << 16))
  }

  private let child: pid_t
  private var outbox: RingProducer
  private var inbox: RingConsumer

  /// Starts the second process and waits until it takes part.
  init() throws {
    let region = try SharedRegion(creating: Self.layout, label: "pagewise ring bench")
    let outbox = try region.producer(of: "there")
    let inbox = try region.consumer(of: "back")
    let passed = try region.descriptorForChild()
    let child = Self.start(["ring", Self.peerVerb, "\(passed.rawValue)", "\(region.token.rawValue)"])
    try? passed.close()
    guard child > 0 else { throw Failure.notStarted(Errno(rawValue: -child)) }
    self.child = child
    self.outbox = outbox
    self.inbox = inbox
    _ = try answer(Mark.ready)
  }

  deinit {
    // Asked to quit it is about to end; otherwise it has nobody to work for.
    kill(child, SIGKILL)
    var status: CInt = 0
    while unsafe waitpid(child, &status, 0) < 0, errno == EINTR {}
  }

  /// Runs this program again. Its process, or a negative errno.
  private static func start(_ arguments: [String]) -> pid_t {
    #if os(Linux)
      let program = "/proc/self/exe"
    #else
      let program = CommandLine.arguments[0]
    #endif
    var pointers = unsafe ([CommandLine.arguments.first ?? "pagewise"] + arguments).map { unsafe strdup($0) }
    defer { for index in unsafe pointers.indices { unsafe free(pointers[index]) } }
    unsafe pointers.append(nil)
    var child: pid_t = 0
    let result = unsafe posix_spawn(&child, program, nil, nil, pointers, environ)
    return result == 0 ? child : -result
  }

  // MARK: Measuring

  struct RoundTrips {
    var sortedNanoseconds: [UInt64]
    let seconds: Double
    let cpu: (own: Double, other: Double)

    /// The time that this share of the round trips did not exceed.
    func percentile(_ share: Double) -> Double {
      guard !sortedNanoseconds.isEmpty else { return .nan }
      let index = Int((Double(sortedNanoseconds.count) * share).rounded(.up)) - 1
      return Double(sortedNanoseconds[min(max(index, 0), sortedNanoseconds.count - 1)])
    }
  }

  struct Stream {
    let messageSize: Int
    let messages: Int
    let seconds: Double
    let cpu: (own: Double, other: Double)
  }

  /// One message there, one back, as often as the time allows.
  func roundTrips(seconds: Double) throws -> RoundTrips {
    let message = [UInt8](repeating: 1, count: Self.pingSize)
    for _ in 0..<200 { try pingOnce(message) }
    _ = try ending()
    var times: [UInt64] = []
    let (begin, cpu) = (Standard.now, Self.cpuSeconds)
    var now = begin
    while now - begin < seconds {
      try pingOnce(message)
      let then = Standard.now
      times.append(UInt64(max(0, (then - now) * 1e9)))
      now = then
    }
    let own = Self.cpuSeconds - cpu
    let other = try ending()
    times.sort()
    return RoundTrips(sortedNanoseconds: times, seconds: now - begin, cpu: (own, other))
  }

  /// Messages of one size, one after the other, as often as the time allows; it ends when the last was received.
  func stream(messageSize: Int, seconds: Double) throws -> Stream {
    let message = [UInt8](repeating: 1, count: messageSize)
    _ = try ending()
    let (begin, cpu) = (Standard.now, Self.cpuSeconds)
    var count = 0
    // The clock is read after each 64 KiB.
    let batch = max(1, 65_536 / messageSize)
    while Standard.now - begin < seconds {
      for _ in 0..<batch { try send(message, Mark.bytes) }
      count += batch
    }
    let other = try ending()
    let end = Standard.now
    return Stream(messageSize: messageSize, messages: count, seconds: end - begin, cpu: (Self.cpuSeconds - cpu, other))
  }

  func quit() throws { try send([], Mark.quit) }

  private func pingOnce(_ message: [UInt8]) throws {
    try send(message, Mark.ping)
    _ = try answer(Mark.ping)
  }

  /// Waits until the other one has received everything. Its processor time since the last such call.
  private func ending() throws -> Double {
    try send([], Mark.end)
    return Double(try answer(Mark.end)) / 1e9
  }

  private func send(_ message: [UInt8], _ mark: UInt16) throws {
    if Interruption.isRequested { throw Failure.interrupted }
    if unsafe try outbox.trySend(message.span.bytes, type: mark) { return }
    try whileItLives { slice in unsafe try outbox.send(message.span.bytes, type: mark, until: slice) }
  }

  /// The first word of the answer.
  private func answer(_ mark: UInt16) throws -> UInt64 {
    try whileItLives { slice in
      try inbox.receive(until: slice) { bytes, type in
        unsafe bytes.byteCount >= 8 ? bytes.unsafeLoadUnaligned(as: UInt64.self) : 0
      }
    }
  }

  private func whileItLives<R>(_ body: (Deadline) throws -> R) throws -> R {
    while true {
      do { return try body(.after(.milliseconds(100))) } catch let error as SharedMemoryError
        where error.code == .timedOut
      {
        if Interruption.isRequested { throw Failure.interrupted }
        var status: CInt = 0
        if unsafe waitpid(child, &status, WNOHANG) != 0 { throw Failure.ended }
      }
    }
  }

  /// Of all threads of this process, in user and kernel.
  static var cpuSeconds: Double {
    var usage = rusage()
    // The number of RUSAGE_SELF, whose type the C libraries do not agree on.
    unsafe getrusage(0, &usage)
    func seconds(_ time: timeval) -> Double { Double(time.tv_sec) + Double(time.tv_usec) / 1e6 }
    return seconds(usage.ru_utime) + seconds(usage.ru_stime)
  }

  // MARK: The second process

  /// Answers until it is told to quit, or the first process is gone.
  static func serve(_ region: borrowing SharedRegion, for parent: PeerToken) throws {
    var inbox = try region.consumer(of: "there")
    var outbox = try region.producer(of: "back")
    var copy = [UInt8](repeating: 0, count: streamSizes.max() ?? 0)
    var answers: [UInt16] = [Mark.ready]
    var cpu = cpuSeconds
    while true {
      for mark in answers {
        if mark == Mark.quit { return }
        var word: [UInt8] = []
        if mark == Mark.end {
          let now = cpuSeconds
          let nanoseconds = UInt64(max(0, (now - cpu) * 1e9))
          cpu = now
          unsafe withUnsafeBytes(of: nanoseconds) { unsafe word.append(contentsOf: $0) }
        }
        unsafe try outbox.send(word.span.bytes, type: mark, until: .after(.seconds(60)))
      }
      answers = []
      do {
        try inbox.receive(upTo: 64, until: .after(.seconds(1))) { bytes, type in
          // What most receivers do at the least: take a copy.
          unsafe bytes.withUnsafeBytes { from in
            unsafe copy.withUnsafeMutableBytes { unsafe $0.copyMemory(from: from) }
          }
          if type != Mark.bytes { answers.append(type) }
        }
      } catch let error as SharedMemoryError where error.code == .timedOut {
        if region.isDead(parent) { return }
      }
    }
  }
}

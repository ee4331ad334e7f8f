// SPDX-License-Identifier: Apache-2.0

import CBaselines
import Dispatch
import SharedMemory

#if canImport(Glibc)
  import Glibc
#elseif canImport(Darwin)
  import Darwin
#endif

/// Tasks on both sides, suspended when there is nothing to do. Beside ours stands what a Swift program has without it: a pipe, with a Dispatch source that resumes
/// a task when the pipe is readable.
func benchmarkAsync(_ harness: Harness, _ rivals: Rivals, _ choice: Choice) throws {
  harness.note("\n-- ASYNC: all sides are tasks, suspended when there is nothing to do")
  let table = MessageTable(harness: harness, choice: choice, rivals: rivals, name: "async", spins: false)
  try table.pingPong(ours: .asyncRing, others: [.asyncPipe], count: 10_000)
  try table.pingPong(ours: .asyncRing, others: [.asyncPipe], count: 10_000, placement: .unpinned, runs: 3)
  for (size, count) in [(64, 200_000), (1024, 100_000), (65_536, 4000)] {
    try table.oneWay(ours: .asyncRing, others: [.asyncPipe], size: size, count: count, placement: .unpinned)
  }
  if choice.contains("async: idle") { try benchmarkIdle(harness, [.asyncRing], table: "async") }
}

extension Side {
  static let asyncRing = Side(name: "Pagewise ring, batches of 64", isOurs: true) { scenario in
    let raw = scenario.raw(inPlace: false)
    let run = Run(base_run_make(raw, nil)!)
    defer { base_run_free(run.run) }
    let region = try SharedRegion(
      creating: RegionLayout(
        .ring("there", capacity: scenario.capacity), .ring("back", capacity: scenario.capacity)))
    let holder = Holder(region)
    return try forked(scenario, run.run) { role in
      try holder.attach()
      return try inTask { try await work(role, scenario, run, holder) }
    }
  }

  /// Descriptors that do not block; a task that finds nothing waits for a Dispatch source.
  static let asyncPipe = Side(name: "pipe, Dispatch source") { scenario in
    let raw = scenario.raw(inPlace: false)
    let run = Run(base_run_make(raw, nil)!)
    defer { base_run_free(run.run) }
    let ends = try newPipe(isBlocking: false) + newPipe(isBlocking: false)
    defer { for end in ends { close(end) } }
    return try forked(scenario, run.run) { role in
      try inTask { try await workOnPipes(role, scenario, run, there: (ends[0], ends[1]), back: (ends[2], ends[3])) }
    }
  }
}

/// What tasks have in common.
private struct Run: @unchecked Sendable {
  let run: UnsafeMutablePointer<base_ipc_run>
  init(_ run: UnsafeMutablePointer<base_ipc_run>) { self.run = run }
  var warmUp: Int { Int(run.pointee.scenario.warm_up) }
}

/// Attached before its tasks begin.
private final class Holder: @unchecked Sendable {
  var region: SharedRegion
  init(_ region: consuming SharedRegion) { self.region = region }
  func attach() throws { try region.attachAfterFork() }
}

private final class Outcome: @unchecked Sendable {
  var result: Result<UInt64, any Error>? = nil
}

/// In a process that has only been forked, before it has a task: the pool of threads is its own.
private func inTask(_ body: @escaping @Sendable () async throws -> UInt64) throws -> UInt64 {
  let done = DispatchSemaphore(value: 0)
  let outcome = Outcome()
  Task.detached {
    do { outcome.result = .success(try await body()) } catch { outcome.result = .failure(error) }
    done.signal()
  }
  done.wait()
  return try outcome.result!.get()
}

private func sum(_ bytes: RawSpan) -> UInt64 { bytes.withUnsafeBytes { base_sum_message($0.baseAddress, $0.count) } }

private func work(_ role: Int, _ scenario: Scenario, _ shared: Run, _ holder: Holder) async throws -> UInt64 {
  let isPingPong = scenario.kind == .pingPong
  var message = [UInt8](repeating: 0, count: scenario.size)
  var total: UInt64 = 0
  if role == 0 {
    var there = try holder.region.producer(of: "there")
    var back = try holder.region.consumer(of: "back")
    var last: UInt64 = 0
    for number in -shared.warmUp..<scenario.count {
      if number == 0 {
        base_run_arrive(shared.run, 0)
        last = base_now_ns()
      }
      if scenario.kind == .openLoop, number >= 0 { base_run_await(shared.run, Int64(number)) }
      message.withUnsafeMutableBytes { base_fill_message($0.baseAddress, $0.count, UInt64(truncatingIfNeeded: number)) }
      try await there.send(message.span.bytes)
      guard isPingPong else { continue }
      total &+= try await back.receive { bytes, _ in sum(bytes) }
      if number >= 0 {
        let now = base_now_ns()
        base_run_samples(shared.run)![number] = now - last
        last = now
      }
    }
    return total
  }
  var there = try holder.region.consumer(of: "there")
  var back = try holder.region.producer(of: "back")
  for isWarmUp in [true, false] {
    var left = isWarmUp ? shared.warmUp : scenario.count
    while left > 0 {
      if isPingPong {
        try await there.receive { bytes, _ in
          total &+= sum(bytes)
          _ = try back.trySend(bytes)
        }
        left -= 1
      } else {
        left -= try await there.receive(upTo: min(64, left)) { bytes, _ in total &+= sum(bytes) }
      }
    }
    if isWarmUp { base_run_arrive(shared.run, 1) }
  }
  return total
}

/// Resumes a task when a descriptor is ready, once for each wait.
private final class Readiness: @unchecked Sendable {
  private let source: any DispatchSourceProtocol
  private let lock = DispatchQueue(label: "readiness")
  private var waiting: CheckedContinuation<Void, Never>?
  private var isSuspended = true

  init(reading descriptor: CInt) {
    source = DispatchSource.makeReadSource(fileDescriptor: descriptor, queue: lock)
    begin()
  }
  init(writing descriptor: CInt) {
    source = DispatchSource.makeWriteSource(fileDescriptor: descriptor, queue: lock)
    begin()
  }

  private func begin() {
    source.setEventHandler { [unowned self] in
      source.suspend()
      isSuspended = true
      waiting?.resume()
      waiting = nil
    }
  }

  func wait() async {
    await withCheckedContinuation { continuation in
      lock.async { [self] in
        waiting = continuation
        if isSuspended {
          isSuspended = false
          source.resume()
        }
      }
    }
  }

  /// A source that is suspended must not be let go.
  func end() {
    lock.sync {
      source.cancel()
      if isSuspended { source.resume() }
    }
  }
}

private struct PipeEnd {
  let descriptor: CInt
  let readiness: Readiness

  func send(_ message: [UInt8]) async throws {
    var done = 0
    while done < message.count {
      let put = message.withUnsafeBytes { write(descriptor, $0.baseAddress! + done, $0.count - done) }
      if put > 0 {
        done += put
      } else if errno == EAGAIN {
        await readiness.wait()
      } else {
        throw WorkDiffers(description: "write")
      }
    }
  }

  func receive(_ message: inout [UInt8]) async throws {
    var filled = 0
    while filled < message.count {
      let got = message.withUnsafeMutableBytes { read(descriptor, $0.baseAddress! + filled, $0.count - filled) }
      if got > 0 {
        filled += got
      } else if got < 0, errno == EAGAIN {
        await readiness.wait()
      } else {
        throw WorkDiffers(description: "read")
      }
    }
  }
}

private func workOnPipes(
  _ role: Int, _ scenario: Scenario, _ shared: Run, there: (CInt, CInt), back: (CInt, CInt)
) async throws -> UInt64 {
  let isPingPong = scenario.kind == .pingPong
  let (from, to) = role == 0 ? (back.0, there.1) : (there.0, back.1)
  let input = PipeEnd(descriptor: from, readiness: Readiness(reading: from))
  let output = PipeEnd(descriptor: to, readiness: Readiness(writing: to))
  defer {
    input.readiness.end()
    output.readiness.end()
  }
  var message = [UInt8](repeating: 0, count: scenario.size)
  var total: UInt64 = 0
  var last: UInt64 = 0
  for number in -shared.warmUp..<scenario.count {
    if number == 0 {
      base_run_arrive(shared.run, Int32(role))
      last = base_now_ns()
    }
    if role == 0 {
      message.withUnsafeMutableBytes { base_fill_message($0.baseAddress, $0.count, UInt64(truncatingIfNeeded: number)) }
      try await output.send(message)
      guard isPingPong else { continue }
    }
    try await input.receive(&message)
    total &+= message.withUnsafeBytes { base_sum_message($0.baseAddress, $0.count) }
    if role == 1, isPingPong { try await output.send(message) }
    if role == 0, number >= 0 {
      let now = base_now_ns()
      base_run_samples(shared.run)![number] = now - last
      last = now
    }
  }
  return total
}

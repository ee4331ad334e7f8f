// SPDX-License-Identifier: Apache-2.0

import CBaselines
import SharedMemory

/// Our ring channel. Messages are lent to the receiver in each of its forms.
extension Side {
  /// One copy, by the sender.
  static let ours = Side(name: "Pagewise ring", isOurs: true) { try RingRun($0, sends: .copies).measure() }
  /// No copy.
  static let oursInPlace = Side(name: "Pagewise ring, in place") { try RingRun($0, sends: .inPlace).measure() }
  /// Received in batches of up to 64.
  static let oursInBatches = Side(name: "Pagewise ring, batches of 64") {
    try RingRun($0, sends: .copies, batch: 64).measure()
  }
}

/// One run over a ring channel. The region is made before the fork, as memory that nobody else can reach.
private struct RingRun {
  enum Sending { case copies, inPlace }

  let scenario: Scenario
  let sends: Sending
  let batch: Int
  private let raw: base_scenario

  init(_ scenario: Scenario, sends: Sending, batch: Int = 1) {
    self.scenario = scenario
    self.sends = sends
    self.batch = batch
    raw = scenario.raw(inPlace: sends == .inPlace)
  }

  func measure() throws -> Measured {
    let run = base_run_make(raw, nil)!
    defer { base_run_free(run) }
    var region = try SharedRegion(
      creating: RegionLayout(
        .ring("there", capacity: scenario.capacity, producers: scenario.producers),
        .ring("back", capacity: scenario.capacity)))
    var children: [pid_t] = []
    for role in 0..<scenario.processes {
      let child = base_fork()
      if child == 0 {
        base_run_enter(run, Int32(role))
        do {
          try region.attachAfterFork()
          base_run_finish(run, Int32(role), try work(role, region, run))
          base_exit(0)
        } catch {
          print(error)
          base_exit(1)
        }
      }
      children.append(child)
    }
    guard base_await_all(children, Int32(children.count)) == 0 else {
      throw WorkDiffers(description: "the ring: a process failed")
    }
    return Measured(run, processes: scenario.processes)
  }

  private func work(
    _ role: Int, _ region: borrowing SharedRegion, _ run: UnsafeMutablePointer<base_ipc_run>
  ) throws -> UInt64 {
    switch (scenario.kind, role) {
    case (.pingPong, 0): return try ask(region, run)
    case (.pingPong, _): return try answer(region, run)
    case (_, 1): return batch > 1 ? try consumeBatches(region, run) : try consume(region, run)
    default:
      try produce(role, region, run)
      return 0
    }
  }

  private func ask(_ region: borrowing SharedRegion, _ run: UnsafeMutablePointer<base_ipc_run>) throws -> UInt64 {
    var there = try region.producer(of: "there")
    var back = try region.consumer(of: "back")
    let samples = base_run_samples(run)!
    var message = [UInt8](repeating: 0, count: scenario.size)
    var total: UInt64 = 0
    var last: UInt64 = 0
    for number in -Int(raw.warm_up)..<scenario.count {
      if number == 0 {
        base_run_arrive(run, 0)
        last = base_now_ns()
      }
      try send(&there, &message, number, run, role: 0)
      total &+= try receive(&back, run, role: 0)
      if scenario.isSampled, number >= 0 {
        let now = base_now_ns()
        samples[number] = now - last
        last = now
      }
    }
    return total
  }

  /// Answers from where the message lies.
  private func answer(_ region: borrowing SharedRegion, _ run: UnsafeMutablePointer<base_ipc_run>) throws -> UInt64 {
    var there = try region.consumer(of: "there")
    var back = try region.producer(of: "back")
    var total: UInt64 = 0
    for number in -Int(raw.warm_up)..<scenario.count {
      if number == 0 { base_run_arrive(run, 1) }
      if !scenario.spins {
        total &+= try there.receive { bytes, _ in
          let sum = self.sum(bytes)
          try back.send(bytes)
          return sum
        }
        continue
      }
      while true {
        let found: UInt64? = try there.tryReceive { bytes, _ in
          let sum = self.sum(bytes)
          while try !back.trySend(bytes) { base_relax(run, 1) }
          return sum
        }
        if let found {
          total &+= found
          break
        }
        base_relax(run, 1)
      }
    }
    return total
  }

  private func produce(
    _ role: Int, _ region: borrowing SharedRegion, _ run: UnsafeMutablePointer<base_ipc_run>
  ) throws {
    var there = try region.producer(of: "there")
    var message = [UInt8](repeating: 0, count: scenario.size)
    for number in -Int(raw.warm_up)..<scenario.count {
      if number == 0 { base_run_arrive(run, Int32(role)) }
      if scenario.kind == .openLoop, number >= 0 { base_run_await(run, Int64(number)) }
      try send(&there, &message, number, run, role: Int32(role))
    }
  }

  private func consume(_ region: borrowing SharedRegion, _ run: UnsafeMutablePointer<base_ipc_run>) throws -> UInt64 {
    var there = try region.consumer(of: "there")
    let samples = base_run_samples(run)!
    let times = scenario.kind == .fanIn ? scenario.producers : 1
    var total: UInt64 = 0
    for number in -Int(raw.warm_up) * times..<scenario.count * times {
      if number == 0 { base_run_arrive(run, 1) }
      total &+= try receive(&there, run, role: 1)
      if scenario.isSampled, number >= 0 { samples[number] = base_run_lateness(run, Int64(number)) }
    }
    return total
  }

  /// No batch holds messages of the warm-up and others: the producers wait in between.
  private func consumeBatches(
    _ region: borrowing SharedRegion, _ run: UnsafeMutablePointer<base_ipc_run>
  ) throws -> UInt64 {
    var there = try region.consumer(of: "there")
    let times = scenario.kind == .fanIn ? scenario.producers : 1
    var total: UInt64 = 0
    for isWarmUp in [true, false] {
      var left = (isWarmUp ? Int(raw.warm_up) : scenario.count) * times
      while left > 0 {
        if scenario.spins {
          let found = try there.tryReceive(upTo: batch) { bytes, _ in total &+= self.sum(bytes) }
          left -= found
          if found == 0 { base_relax(run, 1) }
        } else {
          left -= try there.receive(upTo: batch) { bytes, _ in total &+= self.sum(bytes) }
        }
      }
      if isWarmUp { base_run_arrive(run, 1) }
    }
    return total
  }

  @inline(__always)
  private func send(
    _ producer: inout RingProducer, _ message: inout [UInt8], _ number: Int,
    _ run: UnsafeMutablePointer<base_ipc_run>, role: Int32
  ) throws {
    let touched = Int(raw.touched)
    if sends == .inPlace {
      let fill = { (span: inout MutableRawSpan) -> Int in
        span.withUnsafeMutableBytes {
          base_fill_message($0.baseAddress, touched, UInt64(truncatingIfNeeded: number))
        }
        return self.scenario.size
      }
      if !scenario.spins { return try producer.send(upTo: scenario.size, fill) }
      while try !producer.trySend(upTo: scenario.size, fill) { base_relax(run, role) }
      return
    }
    message.withUnsafeMutableBytes { base_fill_message($0.baseAddress, touched, UInt64(truncatingIfNeeded: number)) }
    if !scenario.spins { return try producer.send(message.span.bytes) }
    while try !producer.trySend(message.span.bytes) { base_relax(run, role) }
  }

  @inline(__always)
  private func receive(
    _ consumer: inout RingConsumer, _ run: UnsafeMutablePointer<base_ipc_run>, role: Int32
  ) throws -> UInt64 {
    if !scenario.spins { return try consumer.receive { bytes, _ in self.sum(bytes) } }
    while true {
      if let sum = try consumer.tryReceive({ bytes, _ in self.sum(bytes) }) { return sum }
      base_relax(run, role)
    }
  }

  @inline(__always)
  private func sum(_ bytes: RawSpan) -> UInt64 {
    bytes.withUnsafeBytes { base_sum_message($0.baseAddress, Int(raw.touched)) }
  }
}

// SPDX-License-Identifier: Apache-2.0

import CBaselines
import SharedMemory

#if canImport(Glibc)
  import Glibc
#elseif canImport(Darwin)
  import Darwin
#endif

/// One sender, several receivers that all get every message. Role 0 sends.
extension Side {
  /// The sender waits for the slowest.
  static let followers = Side(name: "Pagewise broadcast, lossless") { try BroadcastRun($0, losing: .nothing).measure() }
  /// The sender waits for nobody, and receivers lose what they are too slow for: no work to compare.
  static let readers = Side(name: "Pagewise broadcast, may lose", hasWork: false) {
    try BroadcastRun($0, losing: .oldest).measure()
  }
  /// The same bytes into one pipe after the other.
  static let threePipes = Side(name: "three pipes") { scenario in
    let raw = scenario.raw(inPlace: false)
    let run = base_run_make(raw, nil)!
    defer { base_run_free(run) }
    var ends: [[CInt]] = []
    for _ in 0..<scenario.producers {
      ends.append(try newPipe())
    }
    defer { for end in ends.joined() { close(end) } }
    return try forked(scenario, run) { role in
      var message = [UInt8](repeating: 0, count: scenario.size)
      var total: UInt64 = 0
      for number in -Int(raw.warm_up)..<scenario.count {
        if number == 0 { base_run_arrive(run, Int32(role)) }
        if role == 0 {
          message.withUnsafeMutableBytes {
            base_fill_message($0.baseAddress, $0.count, UInt64(truncatingIfNeeded: number))
          }
          for end in ends where write(end[1], message, message.count) != message.count {
            throw WorkDiffers(description: "a short write")
          }
        } else {
          var filled = 0
          while filled < message.count {
            let got = message.withUnsafeMutableBytes {
              read(ends[role - 1][0], $0.baseAddress! + filled, $0.count - filled)
            }
            guard got > 0 else { throw WorkDiffers(description: "a short read") }
            filled += got
          }
          total &+= message.withUnsafeBytes { base_sum_message($0.baseAddress, $0.count) }
        }
      }
      return total
    }
  }
}

/// Its reading and its writing end.
func newPipe(isBlocking: Bool = true) throws -> [CInt] {
  var ends: [CInt] = [-1, -1]
  guard pipe(&ends) == 0, isBlocking || ends.allSatisfy({ fcntl($0, F_SETFL, O_NONBLOCK) == 0 }) else {
    throw WorkDiffers(description: "no pipe")
  }
  return ends
}

/// Forks the processes of a run, each of which does `work` and gives its sum.
func forked(
  _ scenario: Scenario, _ run: UnsafeMutablePointer<base_ipc_run>, _ work: (_ role: Int) throws -> UInt64
) throws -> Measured {
  var children: [pid_t] = []
  for role in 0..<scenario.processes {
    let child = base_fork()
    if child == 0 {
      base_run_enter(run, Int32(role))
      do {
        base_run_finish(run, Int32(role), try work(role))
        base_exit(0)
      } catch {
        print(error)
        base_exit(1)
      }
    }
    children.append(child)
  }
  guard base_await_all(children, Int32(children.count)) == 0 else {
    throw WorkDiffers(description: "a process failed")
  }
  return Measured(run, processes: scenario.processes)
}

private struct BroadcastRun {
  let scenario: Scenario
  let loss: BroadcastReader.Loss

  init(_ scenario: Scenario, losing loss: BroadcastReader.Loss) {
    self.scenario = scenario
    self.loss = loss
  }

  func measure() throws -> Measured {
    let raw = scenario.raw(inPlace: false)
    let run = base_run_make(raw, nil)!
    defer { base_run_free(run) }
    var region = try SharedRegion(
      creating: RegionLayout(
        .broadcast("b", capacity: scenario.capacity, followers: scenario.producers), .counters("ready", count: 1)))
    let warmUp = UInt64(raw.warm_up)
    let last = warmUp + UInt64(scenario.count)
    return try forked(scenario, run) { role in
      try region.attachAfterFork()
      let ready = try region.counters("ready")
      if role == 0 {
        var writer = try region.broadcastWriter(of: "b")
        while ready[0] < UInt64(scenario.producers) { base_yield() }
        var message = [UInt8](repeating: 0, count: scenario.size)
        for number in 0..<last {
          if number == warmUp {
            // Everybody has received the warm-up.
            base_run_arrive(run, 0)
          }
          message.withUnsafeMutableBytes { base_fill_message($0.baseAddress, $0.count, number &- warmUp) }
          try writer.send(message.span.bytes)
        }
        return 0
      }
      var reader = try region.broadcastReader(of: "b", losing: loss)
      ready.add(1, at: 0)
      var total: UInt64 = 0
      for end in [warmUp, last] {
        var number: UInt64 = 0
        while number < end {
          number = try reader.receive { bytes, message in
            total &+= bytes.withUnsafeBytes { base_sum_message($0.baseAddress, $0.count) }
            return message.number
          }
        }
        if end == warmUp { base_run_arrive(run, Int32(role)) }
      }
      return total
    }
  }
}

// SPDX-License-Identifier: Apache-2.0

import CBaselines
import Histogram

/// One thing that is measured, the same for every side.
struct Scenario {
  enum Kind: Int32 {
    case pingPong, oneWay, openLoop, fanIn, fanOut
  }

  enum Placement: Int32 {
    /// The receiver on one processor, the sender or the senders on another.
    case twoProcessors
    case oneProcessor
    case unpinned

    var text: String {
      switch self {
      case .twoProcessors: "two processors"
      case .oneProcessor: "one processor"
      case .unpinned: "unpinned"
      }
    }
  }

  var kind: Kind
  var spins: Bool
  /// Bytes of a message.
  var size = 64
  /// Messages of each producer, or round trips.
  var count: Int
  /// Of a fan-out: receivers.
  var producers = 1
  var placement = Placement.twoProcessors
  /// Bytes of each message that are written and read; all of it unless said.
  var touched: Int?
  /// Open loop: messages a second.
  var rate = 0
  /// Open loop: how long nobody sends before the first message.
  var idleSeconds: Double?
  var isSampled = false

  /// Bytes of a ring.
  var capacity: Int { kind == .pingPong ? 4096 : size > 65_536 ? 4 << 20 : 1 << 20 }
  var processes: Int { kind == .fanIn || kind == .fanOut ? producers + 1 : 2 }
  /// All that the processes have in common is touched before anything is timed: the rings are filled twice.
  private var warmUp: Int {
    switch kind {
    case .pingPong: spins ? 2000 : 100
    case .oneWay, .fanIn, .fanOut: max(8, min(2 * capacity / size, count / 4))
    case .openLoop: 200
    }
  }

  /// As the C side knows it.
  func raw(inPlace: Bool) -> base_scenario {
    let interval = idleSeconds.map { Int64($0 * 1e9) } ?? (rate > 0 ? 1_000_000_000 / Int64(rate) : 0)
    return base_scenario(
      // To the C side, which has no fan-out, the same processes are a fan-in.
      kind: (kind == .fanOut ? .fanIn : kind).rawValue, placement: placement.rawValue, spins: spins ? 1 : 0,
      producers: Int32(producers),
      count: Int64(count), warm_up: Int64(warmUp), size: Int64(size), touched: Int64(touched ?? size),
      capacity: Int64(capacity), interval: interval, in_place: inPlace ? 1 : 0, sampled: isSampled ? 1 : 0)
  }
}

/// What one run of one side came to.
struct Measured {
  /// From the first one's start to the last one's end.
  let seconds: Double
  /// Nanoseconds; empty where nobody looked at the clock.
  var latencies: Histogram<UInt64>
  /// Processor time of the receiver (or the answering side), and of all others.
  let receiverSeconds: Double
  let senderSeconds: Double
  /// How often the processes gave their processor up.
  let switches: UInt64
  /// The sum of all that was read.
  let work: UInt64

  var processorSeconds: Double { receiverSeconds + senderSeconds }

  static func emptyHistogram() -> Histogram<UInt64> {
    Histogram(
      lowestDiscernibleValue: 1, highestTrackableValue: 10_000_000_000, numberOfSignificantValueDigits: .three)
  }

  /// Reads a run that has ended.
  init(_ run: UnsafeMutablePointer<base_ipc_run>, processes: Int) {
    var start = UInt64.max
    var end: UInt64 = 0
    var processor: [UInt64] = []
    var switches: UInt64 = 0
    var work: UInt64 = 0
    for role in 0..<processes {
      let report = base_run_report(run, Int32(role))!.pointee
      start = min(start, report.start)
      end = max(end, report.end)
      processor.append(report.cpu)
      switches += report.switches
      work &+= report.work
    }
    seconds = Double(end - start) / 1e9
    receiverSeconds = Double(processor[1]) / 1e9
    senderSeconds = Double(processor.reduce(0, +) - processor[1]) / 1e9
    self.switches = switches
    self.work = work
    latencies = Self.emptyHistogram()
    if run.pointee.scenario.sampled != 0, let samples = base_run_samples(run) {
      for index in 0..<Int(run.pointee.scenario.count) {
        latencies.record(max(1, min(samples[index], latencies.highestTrackableValue)))
      }
    }
  }
}

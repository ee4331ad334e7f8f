// SPDX-License-Identifier: Apache-2.0

internal import ArgumentParser
internal import SharedMemory
internal import SystemPackage

/// `pagewise ring tail`: shows messages as they pass.
struct RingTailCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "tail",
    abstract: "Shows the messages of a ring without receiving them.",
    discussion: """
      Shows what waits now, and with -f what comes. It reads only: sender and
      receiver go on as if it were not there, and do not wait for it. What the
      receiver takes before it was copied is missed, and standard error says
      how many bytes of the ring that was: beside a receiver that is fast and
      waits, most of it. Messages of one sender are shown in their order.

      EXAMPLES:
        pagewise ring tail jobs                  what waits
        pagewise ring tail -f jobs               until Ctrl-C
        pagewise ring tail --framed frames | decoder
        pagewise ring tail -f --json jobs | jq 'select(.lane == 2)'

      A message is printed as a line, whatever is in it; --framed puts 4 bytes
      with its length before it instead, the lowest first.

      JSON:
        An object on a line for each message: the "lane" of its sender, its
        "type" (the sender's number, 0 without one), "size_bytes", and "text",
        or "base64" for bytes that are no UTF-8. What was missed is an object
        with "lane" and "missed_bytes" where it would have stood.

      As long as it runs the region counts as used, and is not replaced.

      EXIT STATUS:
        0    all that waited was shown; with -f, ended by Ctrl-C or SIGTERM
        1    no such ring, or a damaged one; or the output failed
        64   wrong usage
        130  interrupted without -f
      """)

  @OptionGroup var ring: RingArguments

  @Flag(name: .shortAndLong, help: "Go on with what comes.")
  var follow = false

  @OptionGroup var form: RecordForm

  func run() throws {
    Standard.reserve()
    Interruption.watch()
    let endsBySignal = BrokenPipe.watch()
    let status = RingRun.status(ring) { () throws in try show() }
    if Standard.outputFailure == .brokenPipe, endsBySignal { BrokenPipe.end() }
    throw ExitCode(status)
  }

  /// Seconds between two looks: short ones after something was seen, so that less is missed; idle ones cost a thousandth of a processor.
  private static let pauses = 0.000_05...0.01

  private func show() throws -> RingRun.Ending {
    let reader = try SharedRegionReader(named: ring.name, in: ring.place.runtime)
    let part = try ring.part(of: reader.layout, "observe")
    var observer = try reader.observer(ofRing: part)
    // Without -f the end is where the senders are now: a fast one would be shown for ever.
    let ends = try reader.ringStatus(part).lanes.map(\.sentBytes)
    var output = RecordOutput(form.output)
    var missed = Missed(name: ring.name)
    defer { missed.tell() }
    var round = 0
    var pause = Self.pauses.lowerBound
    do {
      while !Interruption.isRequested {
        round &+= 1
        if round & 0xFF == 0 {
          try output.flush()
          missed.tellSometimes()
        }
        if !follow, zip(observer.positions, ends).allSatisfy({ $0 &- $1 < 1 << 63 }) { break }
        switch try observer.next() {
        case .message(let bytes, let type, let lane):
          unsafe try output.add(bytes.span.bytes, type: type, lane: lane, isStrict: false)
          pause = Self.pauses.lowerBound
        case .missed(let byteCount, let lane):
          missed.add(byteCount)
          if form.json { try output.add(Self.missed(byteCount, lane)) }
          pause = Self.pauses.lowerBound
        case nil:
          try output.flush()
          guard follow else { return .done }
          if Standard.isReaderGone { return .outputFailed }
          missed.tellSometimes()
          Interruption.sleep(seconds: pause)
          pause = min(2 * pause, Self.pauses.upperBound)
        }
      }
      try output.flush()
    } catch is RecordOutput.Closed {
      if Standard.outputFailure != nil { return .outputFailed }
    }
    return Interruption.isRequested && !follow
      ? .interrupted("interrupted; what was shown until then is above.") : .done
  }

  private static func missed(_ byteCount: UInt64, _ lane: Int) -> JSONWriter {
    var json = JSONWriter(isOnOneLine: true)
    json.beginObject()
    json.add("lane", lane)
    json.add("missed_bytes", byteCount)
    json.endObject()
    return json
  }

  /// What was missed, told once a second at most, and at the end.
  private struct Missed {
    let name: String
    private var bytes: UInt64 = 0
    private var told: UInt64 = 0
    private var lastTime = -Double.infinity

    init(name: String) { self.name = name }

    mutating func add(_ count: UInt64) { bytes = bytes.addingReportingOverflow(count).partialValue }

    mutating func tellSometimes() {
      guard bytes != told, Standard.now - lastTime >= 1 else { return }
      tell()
    }

    mutating func tell() {
      guard bytes != told else { return }
      Standard.error(
        "pagewise: missed \(Figures.grouped(bytes)) bytes of ring '\(name)' until now: its receiver was faster.\n")
      told = bytes
      lastTime = Standard.now
    }
  }
}

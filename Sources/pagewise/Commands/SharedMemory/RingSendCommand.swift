// SPDX-License-Identifier: Apache-2.0

internal import ArgumentParser
internal import SharedMemory
internal import SystemPackage

/// `pagewise ring send`: standard input to a ring.
struct RingSendCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "send",
    abstract: "Sends the records on standard input to a ring.",
    discussion: """
      Each line is a message, without its line feed; a last line without one
      is a message as well. Where there is no room it waits for the receiver,
      which need not run yet. A message is sent whole or not at all, whatever
      ends this program, and the next sender goes on at once.

      EXAMPLES:
        journalctl -f | pagewise ring send events
        pagewise ring send --timeout 5 jobs < list
        pagewise ring send --drop metrics        never waits
        encoder | pagewise ring send --framed frames
        pagewise ring send --type 3 jobs < urgent

      FRAMED records are 4 bytes with the length, the lowest first, then so
      many bytes of any kind. So 'ring receive --framed' prints them.

      JSON:
        One object on a line at the end, however that came once the ring was
        open: "ring", "records" that were read, "sent", "sent_bytes" and
        "dropped".

      EXIT STATUS:
        0    all was sent; with --drop, or dropped, and standard error says
             how many
        1    it was not: no such ring, too many senders, a record that is too
             long or cut. Those before it were sent
        64   wrong usage
        124  no room for a message within --timeout; those before were sent
        130  interrupted; the messages until then were sent
      """)

  @OptionGroup var ring: RingArguments

  @Flag(help: "Records with their length before them, instead of lines.")
  var framed = false

  @Option(help: ArgumentHelp("The messages' type, a number from 0 to 65535 for the receiver.", valueName: "n"))
  var type: UInt16 = 0

  @Flag(help: "Drop a message when there is no room for it.")
  var drop = false

  @Option(
    help: ArgumentHelp("Wait for room so long at most, for each message.", valueName: "seconds"),
    transform: Seconds.parse("--timeout"))
  var timeout: Double? = nil

  @Flag(help: "Print what was sent, as JSON, at the end.")
  var json = false

  func validate() throws {
    if drop, timeout != nil { throw ValidationError("Give --drop or --timeout, not both: --drop does not wait.") }
  }

  func run() throws {
    let hasInput = Standard.isOpen(.standardInput)
    Standard.reserve()
    guard hasInput else {
      Standard.error("pagewise: standard input is closed; there is nothing to send.\n")
      throw ExitCode(1)
    }
    Interruption.watch()
    throw ExitCode(RingRun.status(ring) { () throws in try send() })
  }

  /// What became of the records.
  private struct Tally {
    var sent = 0
    var sentBytes = 0
    var dropped = 0

    mutating func count(_ record: RawSpan, isSent: Bool) {
      if isSent {
        sent += 1
        sentBytes += record.byteCount
      } else {
        dropped += 1
      }
    }

    func write(ring: String, records: Int) {
      var json = JSONWriter(isOnOneLine: true)
      json.beginObject()
      json.add("ring", ring)
      json.add("records", records)
      json.add("sent", sent)
      json.add("sent_bytes", sentBytes)
      json.add("dropped", dropped)
      json.endObject()
      Standard.output(json.text)
    }
  }

  private func send() throws -> RingRun.Ending {
    let region = try SharedRegion(named: ring.name, in: ring.place.runtime, label: "pagewise ring send")
    let part = try ring.part(of: region.layout, "send to")
    var producer = try region.producer(of: part)
    var input = RecordInput(framed ? .framed : .lines, limit: producer.messageLimit)
    var tally = Tally()
    defer {
      if tally.dropped > 0 {
        Standard.error(
          "pagewise: \(Figures.count(tally.dropped, "message was", "messages were")) dropped: the ring was full.\n")
      }
      if json { tally.write(ring: ring.name, records: input.count) }
    }
    return try sendAll(&input, &producer, &tally)
  }

  private func sendAll(_ input: inout RecordInput, _ producer: inout RingProducer, _ tally: inout Tally) throws
    -> RingRun.Ending
  {
    do {
      while try input.next({ record in
        if drop {
          tally.count(record, isSent: try producer.sendOrDrop(record, type: type))
        } else {
          try send(record, &producer)
          tally.count(record, isSent: true)
        }
      }) {}
    } catch let failure as RecordInput.Failure {
      return ending(failure, sent: tally.sent, limit: producer.messageLimit)
    } catch let error as SharedMemoryError where error.code == .timedOut {
      return .timedOut(
        "no room in ring '\(ring.name)' within \(timeout ?? 0) s: record \(input.count) and what follows was not sent. "
          + "See 'pagewise ring top \(ring.name)' for who should receive.")
    } catch is RingRun.Interrupted {
      return ending(.interrupted, sent: tally.sent, limit: 0)
    }
    return .done
  }

  /// Waits in slices, so that an interruption is seen.
  private func send(_ record: RawSpan, _ producer: inout RingProducer) throws {
    if try producer.trySend(record, type: type) { return }
    let wait = RingRun.Wait(seconds: timeout)
    while true {
      do throws(SharedMemoryError) {
        return try producer.send(record, type: type, until: wait.slice)
      } catch {
        guard error.code == .timedOut, !wait.isOver else { throw error }
      }
      if Interruption.isRequested { throw RingRun.Interrupted() }
    }
  }

  private func ending(_ failure: RecordInput.Failure, sent: Int, limit: Int) -> RingRun.Ending {
    let before = "\(Figures.count(sent, "record was", "records were")) sent"
    let kind = framed ? "record" : "line"
    switch failure {
    case .interrupted: return .interrupted("interrupted; \(before).")
    case .unreadable(let errno): return .failed("cannot read standard input: \(errno); \(before).")
    case .cut(let record, let got, let wanted):
      return .failed(
        "standard input ends within record \(record), after \(got) of \(wanted) bytes; \(before). "
          + "Check that it is framed: 4 bytes of length, the lowest first, before each record.")
    case .tooLong(let record, let byteCount):
      let size = byteCount.map { "has \(Figures.grouped($0)) bytes" } ?? "is too long"
      return .failed(
        "\(kind) \(record) \(size); a message of ring '\(ring.name)' has at most \(Figures.grouped(limit)). \(before). "
          + "Make the ring with more --capacity.")
    }
  }
}

// SPDX-License-Identifier: Apache-2.0

internal import ArgumentParser
internal import SharedMemory
internal import SystemPackage

/// `pagewise ring receive`: a ring to standard output.
struct RingReceiveCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "receive",
    abstract: "Receives messages of a ring and prints them.",
    discussion: """
      Each message is printed as a line. Its room is given back to the ring
      only after it was written to standard output, in batches of up to 256:
      so every message comes at least once. When this program is killed, or
      its output fails, the next receiver begins with the batch that was being
      written, and may print some of it again.

      EXAMPLES:
        pagewise ring receive jobs | worker      until Ctrl-C
        pagewise ring receive --drain jobs       what waits now
        pagewise ring receive --count 1 --timeout 5 jobs
        pagewise ring receive --framed frames | decoder
        pagewise ring receive --json jobs | jq -r .text

      FRAMED records are 4 bytes with the length, the lowest first, then so
      many bytes. A message that has a line feed cannot be a line: it is an
      error, and stays in the ring with all that follow; --framed and --json
      print it.

      JSON:
        An object on a line for each message: its "type" (the sender's number,
        0 without one), "size_bytes", and "text", or "base64" for bytes that
        are no UTF-8.

      EXIT STATUS:
        0    as many as --count were printed, or all that were there with
             --drain
        1    no such ring, another receiver, a message with a line feed; or
             the output failed. What was not printed stays in the ring
        64   wrong usage
        124  no message came within --timeout
        130  interrupted; what was printed whole is received
      """)

  @OptionGroup var ring: RingArguments

  @OptionGroup var form: RecordForm

  @Option(help: ArgumentHelp("End after n messages.", valueName: "n"))
  var count: Int? = nil

  @Option(
    help: ArgumentHelp("Wait for the next message so long at most.", valueName: "seconds"),
    transform: Seconds.parse("--timeout"))
  var timeout: Double? = nil

  @Flag(help: "Only what is there now.")
  var drain = false

  func validate() throws {
    if let count, count < 1 { throw ValidationError("--count takes a number from 1.") }
    if drain, timeout != nil { throw ValidationError("Give --drain or --timeout, not both: --drain does not wait.") }
  }

  func run() throws {
    Standard.reserve()
    Interruption.watch()
    let endsBySignal = BrokenPipe.watch()
    let status = RingRun.status(ring) { () throws in try receive() }
    // The ring was left before.
    if Standard.outputFailure == .brokenPipe, endsBySignal { BrokenPipe.end() }
    throw ExitCode(status)
  }

  /// Messages that are given back together.
  private static let batch = 256

  private func receive() throws -> RingRun.Ending {
    let region = try SharedRegion(named: ring.name, in: ring.place.runtime, label: "pagewise ring receive")
    let part = try ring.part(of: region.layout, "receive from")
    var consumer = try region.consumer(of: part)
    var output = RecordOutput(form.output)
    var received = 0
    var wait = RingRun.Wait(seconds: drain ? 0 : timeout)
    /// Fewer than usual once a message cannot be printed: those before it still are.
    var limit = Self.batch
    while received < count ?? .max {
      if Interruption.isRequested { return interrupted(received) }
      var taken = 0
      do {
        received += try consumer.receive(
          upTo: min(limit, (count ?? .max) - received), until: drain ? .now : wait.slice,
          { message, type in
            try output.add(message, type: type, isStrict: true)
            taken += 1
          }, settle: { try output.flush() })
        wait = RingRun.Wait(seconds: drain ? 0 : timeout)
      } catch is RecordOutput.HasLineFeed {
        output.forget()
        guard taken == 0 else {
          limit = taken
          continue
        }
        return .failed(
          "a message of ring '\(ring.name)' has a line feed in it, after \(Figures.count(received, "message", "messages")): "
            + "it cannot be printed as a line and stays in the ring. Give --framed or --json.")
      } catch is RecordOutput.Closed {
        return Standard.outputFailure == nil ? interrupted(received) : .outputFailed
      } catch let error as SharedMemoryError where error.code == .timedOut {
        if drain { return .done }
        if Standard.isReaderGone { return .outputFailed }
        if wait.isOver {
          return .timedOut(
            "no message in ring '\(ring.name)' within \(timeout ?? 0) s, after "
              + "\(Figures.count(received, "message", "messages")). "
              + "See 'pagewise ring top \(ring.name)' for who should send.")
        }
      }
    }
    return .done
  }

  private func interrupted(_ received: Int) -> RingRun.Ending {
    .interrupted("interrupted; \(Figures.count(received, "message was", "messages were")) received.")
  }
}

// SPDX-License-Identifier: Apache-2.0

internal import ArgumentParser
internal import SharedMemory
internal import SystemPackage

/// `pagewise ring bench`: what a ring between two processes gives on this machine.
struct RingBenchCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "bench",
    abstract: "Measures a ring between two processes on this machine: round trips and streams.",
    discussion: """
      Starts itself a second time, with a region that has no name, and sends
      messages there and back. Both sides wait by sleeping once a short spin
      was of no use, as applications do; the second process copies what it
      receives. Nothing is left behind.

      EXAMPLES:
        pagewise ring bench
        pagewise ring bench --seconds 10
        taskset -c 0 pagewise ring bench         both on one processor
        pagewise ring bench --json

      WHAT IS MEASURED, a quarter of the time each:
        round trip  64 bytes there and back: the median, and the time that one
                    in a hundred exceeds
        stream      messages of 64 B, 1 KiB and 64 KiB, one way, until the
                    last was received
        cpu         processor time of both processes, as a share of the time
      A machine that is busy with something else gives other figures; so do
      two processors that share no cache.

      JSON:
        As of advise, with one report of "kind" "ring_bench".

      EXIT STATUS:
        0    measured
        1    the second process could not be started, or ended; no memory; or
             the output failed
        64   wrong usage
        130  interrupted; nothing is printed
      """)

  @Option(
    help: ArgumentHelp("How long to measure, from 0.1.", valueName: "seconds"),
    transform: {
      guard let seconds = Double($0), 0.1...3600 ~= seconds else {
        throw ValidationError("--seconds takes a number from 0.1 to 3600.")
      }
      return seconds
    })
  var seconds: Double = 2

  @OptionGroup var output: OutputArguments

  func run() throws {
    Standard.reserve()
    Interruption.watch()
    var run = PathRun(output)
    run.begin()
    do {
      run.report(try measured())
    } catch let error as SharedMemoryError {
      run.fail(error)
    } catch {
      if !Interruption.isRequested {
        Standard.error("pagewise: \(error).\n")
        _ = run.end()
        throw ExitCode(1)
      }
    }
    throw ExitCode(run.end(interrupted: "interrupted; nothing was measured."))
  }

  private func measured() throws -> RingBenchReport {
    let bench = try RingBench()
    let trips = try bench.roundTrips(seconds: seconds / 4)
    var streams: [RingBench.Stream] = []
    for size in RingBench.streamSizes { streams.append(try bench.stream(messageSize: size, seconds: seconds / 4)) }
    try bench.quit()
    return RingBenchReport(trips: trips, streams: streams)
  }
}

/// The second process of `pagewise ring bench`. Not for people.
struct RingBenchPeerCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: RingBench.peerVerb, abstract: "The second process of ring bench.", shouldDisplay: false)

  @Argument var descriptor: Int32
  @Argument var parent: UInt64

  func run() throws {
    let region = try SharedRegion(
      inheriting: FileDescriptor(rawValue: descriptor), label: "pagewise ring bench, second process")
    try RingBench.serve(region, for: PeerToken(rawValue: parent))
  }
}

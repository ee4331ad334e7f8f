// SPDX-License-Identifier: Apache-2.0

internal import ArgumentParser
internal import SharedMemory
internal import SystemPackage

/// `pagewise ring top`: what passes through rings.
struct RingTopCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "top",
    abstract: "Shows who sends through rings, who receives, how much a second, and what waits.",
    discussion: """
      All rings of all regions of the folder, or of one region, at each
      interval. It reads only; a region counts as used for the moment of each
      look, and is not kept.

      EXAMPLES:
        pagewise ring top                        until Ctrl-C
        pagewise ring top jobs --interval 0.5
        pagewise ring top --count 1              one look at an interval
        pagewise ring top --json | jq -c '.rings[]'

      COLUMNS, a row for each producer's lane:
        sent/s      bytes sent in a second, with the word before each message
        recv/s      bytes received in a second
        waiting     bytes that wait for the receiver
        full        the same as a share of the capacity: at 100 % the producer
                    waits, or drops
        drop/s      messages dropped in a second
        producer, consumer   process and label; - for nobody. One that is dead
                    is followed by the next that comes
      Lanes that nobody has and in which nothing waits or passes are left out.

      JSON:
        One object on a line for each look: "time_ns", "interval_seconds",
        "rings" with their "lanes", and "errors". Rates of what was not there
        at the look before are null.

      EXIT STATUS:
        0    all is well; ended by --count, Ctrl-C or SIGTERM
        1    no such region, or no ring in it; the folder or a region could
             not be read at the last look; or the output failed
        64   wrong usage
      """)

  @Argument(help: ArgumentHelp("Only the rings of this region.", valueName: "name"))
  var name: String? = nil

  @Option(
    help: ArgumentHelp("Seconds between two looks, from 0.01.", valueName: "seconds"),
    transform: {
      guard let seconds = Double($0), 0.01...86_400 ~= seconds else {
        throw ValidationError("--interval takes a number of seconds from 0.01 to 86400.")
      }
      return seconds
    })
  var interval: Double = 1

  @Option(help: ArgumentHelp("End after n intervals.", valueName: "n"))
  var count: Int? = nil

  @OptionGroup var place: RuntimeFolderArgument
  @OptionGroup var output: OutputArguments

  func validate() throws {
    if let count, count < 1 { throw ValidationError("--count takes a number from 1.") }
  }

  func run() throws {
    Standard.reserve()
    Interruption.watch()
    let style = Style(isPlain: output.plain)
    let isOnScreen = Standard.isTerminal(.standardOutput) && !output.json && !output.plain
    var before = RingLook(in: place.runtime, region: name)
    if let name, before.rings.isEmpty {
      let error =
        before.failures.first
        ?? SharedMemoryError(.noSuchPart, "look at", region: name, note: "it has no ring")
      Standard.error("pagewise: \(place.located(error))\n")
      throw ExitCode(error.code == .invalidArgument ? 64 : 1)
    }
    var shown = 0
    while shown < count ?? .max {
      Interruption.sleep(seconds: interval)
      if Interruption.isRequested || Standard.isReaderGone { break }
      let now = RingLook(in: place.runtime, region: name)
      let rates = RingRates(from: before, to: now)
      if output.json {
        Standard.output(rates.json)
      } else {
        if isOnScreen { Standard.output("\u{1B}[H\u{1B}[2J") }
        Standard.output(rates.text(style, folder: place.runtime.path) + (isOnScreen ? "" : "\n"))
      }
      // Told when it is new; the rows go on.
      for failure in now.failures where !before.failures.contains(failure) || shown == 0 {
        Standard.error("pagewise: \(place.located(failure))\n")
      }
      before = now
      shown += 1
    }
    if let reason = Standard.outputFailure {
      if reason != .brokenPipe { Standard.error("pagewise: cannot write to standard output: \(reason).\n") }
      throw ExitCode(1)
    }
    throw ExitCode(before.failures.isEmpty ? 0 : 1)
  }
}

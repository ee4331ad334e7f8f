// SPDX-License-Identifier: Apache-2.0

internal import ArgumentParser
internal import SharedMemory

/// `pagewise region inspect`: one region, its parts and its peers.
struct RegionInspectCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "inspect",
    abstract: "Shows one region: its parts, its peers, what its channels are doing, its counters.",
    discussion: """
      Reads only, and has no place among the peers. For the moment of looking
      the region counts as used, so nobody can take its name away.

      EXAMPLES:
        pagewise region inspect orders
        pagewise region inspect --json orders | jq '.reports[0].rings'

      WHAT IS SHOWN:
        peers    token (place.taking), process, label, since when. A process
                 of another PID namespace has the namespace beside it: its
                 number means nothing here
        rings    capacity of each lane, the consumer, and for each lane its
                 producer, what waits, what was ever sent and received (bytes,
                 with the word before each message), and messages dropped
        broadcasts
                 what is kept, the writer, what was ever sent, messages dropped,
                 and each follower with what waits for it: the writer waits for
                 the one with the most
        counters their values
        Mutexes, cells, events and plain bytes are shown by size only: what
        they hold is their users' affair.

      JSON:
        As of region list, with "rings", "broadcasts" and "counters".

      EXIT STATUS:
        0    all is well, also where peers are dead
        1    there is none, or it is damaged; or the output failed
        64   wrong usage
      """)

  @Argument(help: ArgumentHelp("The region.", valueName: "name"))
  var name: String

  @OptionGroup var place: RuntimeFolderArgument
  @OptionGroup var output: OutputArguments

  func run() throws {
    Standard.reserve()
    var run = PathRun(output)
    run.begin()
    do throws(SharedMemoryError) {
      let inspection = try RegionInspection(of: name, in: place.runtime)
      run.report(inspection)
      for problem in inspection.problems { run.fail(problem) }
    } catch {
      run.fail(place.located(error))
    }
    throw ExitCode(run.end())
  }
}

// SPDX-License-Identifier: Apache-2.0

internal import ArgumentParser
internal import SharedMemory

/// `pagewise region list`: the regions of the runtime folder.
struct RegionListCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "list",
    abstract: "Lists the regions of a folder: size, age, peers, parts.",
    discussion: """
      Reads the files' headers and asks the kernel who lives. Nothing is
      attached, and nobody can tell that it was looked at. Regions without a
      name (memory files) are in no folder, and not listed.

      EXAMPLES:
        pagewise region list
        pagewise region list --folder /run/shop
        pagewise region list --json | jq '.reports[] | select(.used | not)'

      COLUMNS:
        size    bytes of the region's file
        age     since it was made
        alive   peers: processes (handles) that take part, proved by locks
                that the kernel holds for them
        dead    peers that ended without leaving; their places are free
        used    whether anybody is attached, to write or only to read
        parts   how many of each kind; or why it is no region

      JSON:
        As of advise. Reports have "kind" "region", with "peers", "parts",
        "waiting_bytes" (sent into rings and not received), and "problem" for
        what is no region; its other members are null or empty.

      EXIT STATUS:
        0    all is well, also where there are no regions
        1    the folder could not be read, or a file in it is no region: its
             row says why; or the output failed
        64   wrong usage
      """)

  @OptionGroup var place: RuntimeFolderArgument
  @OptionGroup var output: OutputArguments

  func run() throws {
    Standard.reserve()
    var run = PathRun(output)
    run.begin()
    do throws(SharedMemoryError) {
      let found = try place.runtime.regions()
      if output.json {
        for listing in found { run.report(RegionReport(listing: listing)) }
      } else {
        let rows = RegionRows(folder: place.runtime, listings: found)
        Standard.output(rows.text(Style(isPlain: output.plain)))
      }
      for problem in found.compactMap(\.problem) { run.fail(problem) }
    } catch {
      run.fail(place.located(error))
    }
    throw ExitCode(run.end())
  }
}

// SPDX-License-Identifier: Apache-2.0

internal import ArgumentParser
internal import SharedMemory

/// `pagewise region gc`: takes away regions that nobody uses.
struct RegionGCCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "gc",
    abstract: "Says which regions nobody uses, and with --remove removes them.",
    discussion: """
      A region is unused when the kernel proves that nobody is attached to it:
      whoever is holds a lock, also while stopped, and every end of a process,
      SIGKILL as well, gives it back. Nothing else counts: not age, not names.
      What is in an unused region is lost with it, also messages that wait in
      a ring for a receiver that is to be started: how many bytes is said.

      EXAMPLES:
        pagewise region gc                       says what it would remove
        pagewise region gc --remove
        pagewise region gc --json | jq '.reports[0].regions'

      JSON:
        As of advise, with one report of "kind" "region_removal"; the "outcome"
        of each region is unused (with "dry_run"), removed, in_use, gone or
        failed, and "errors" has the reasons of the last.

      EXIT STATUS:
        0    all that is unused is removed, or would be; others are in use
        1    of some it could not be proved, or they could not be removed;
             files that are no regions count so. Or the output failed
        64   wrong usage
      """)

  @Flag(help: "Remove them.")
  var remove = false

  @OptionGroup var place: RuntimeFolderArgument
  @OptionGroup var output: OutputArguments

  func run() throws {
    Standard.reserve()
    var run = PathRun(output)
    run.begin()
    do throws(SharedMemoryError) {
      let removals = try place.runtime.removeUnused(isDryRun: !remove)
      run.report(RegionRemovals(folder: place.runtime, removals: removals, isDryRun: !remove))
      for removal in removals {
        if case .failed(let error) = removal.outcome { run.fail(error) }
      }
    } catch {
      run.fail(place.located(error))
    }
    throw ExitCode(run.end())
  }
}

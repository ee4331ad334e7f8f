// SPDX-License-Identifier: Apache-2.0

internal import ArgumentParser
internal import MemoryMapping
internal import PageCache
internal import SystemPackage

/// `pagewise hazards`: mappings that can kill or mislead their process later.
struct HazardsCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "hazards",
    abstract: "Finds mappings that can kill or mislead their process later, and says what to do about them.",
    discussion: """
      Reads only, and no content. Run it as root: of what other users map, and
      of mapped files that are no longer at their path, only root is told.

      EXAMPLES:
        pagewise hazards                         all processes
        pagewise hazards --pid 1234              one process
        pagewise hazards /srv/app data.db        these files, whoever maps them
        pagewise hazards --json                  for monitoring: see the status
        pagewise hazards --ignore sparse         without what is known and meant

      WHAT IS FOUND:
        past_end       mapped pages past the end of their file: touching one is
                       a SIGBUS (danger)
        growth_room    the same in the shape of room that a program keeps for
                       its file to grow: far past the end, in whole MiB (notice)
        replaced       the process goes on with a file whose name another one
                       has taken (warning)
        deleted        the file has lost its name (notice)
        sparse         a shared mapping for writing shows holes: a store needs
                       space. danger when there is less space than that,
                       warning when it would take over half of it, else notice
        remote         the file is on a network or FUSE file system (warning
                       when it is shared for writing, else notice)
        mapping_limit  80 of 100 mappings of vm.max_map_count are in use
                       (warning; danger from 95)
        lock_limit     80 of 100 bytes of RLIMIT_MEMLOCK are locked (warning)

      A file is looked for by device and inode and by its path, a folder by
      the path. The two limits are looked at without a PATH.

      JSON:
        As of advise. There is one report: "hazards", each with kind, severity,
        pid, name, path, addresses, amount, limit, what, consequence and
        remedy; "worst"; "processes" and "unknown_files", what could not be
        looked at; and "complete".

      EXIT STATUS:
        0    no warning and no danger; notices may be there
        1    failed, and nothing was found: no such process or file, not
             permitted; or the output did
        2    a warning or a danger was found
        64   wrong usage
        130  interrupted; what was found until then is printed
      """)

  @Argument(
    help: ArgumentHelp("Files or folders whose mappings to look at.", valueName: "path"),
    transform: RawArguments.path)
  var paths: [FilePath] = []

  @Option(help: ArgumentHelp("Look at one process.", valueName: "n"))
  var pid: Int32? = nil

  @Flag(help: "Look at all processes. Without --pid and PATH that is so by itself.")
  var all = false

  @Option(
    help: ArgumentHelp("Leave out this kind of findings; may be given again.", valueName: "kind"),
    transform: HazardsCommand.kind)
  var ignore: [Hazard.Kind] = []

  @OptionGroup var progress: ProgressArgument
  @OptionGroup var output: OutputArguments

  func validate() throws {
    if [pid != nil, all, !paths.isEmpty].count(where: { $0 }) > 1 {
      throw ValidationError("Give --pid, --all or PATHs, only one of them.")
    }
    if let pid, pid < 1 { throw ValidationError("--pid takes a number from 1.") }
    if paths.contains(where: \.isEmpty) { throw ValidationError("A PATH is empty.") }
  }

  static func kind(_ text: String) throws -> Hazard.Kind {
    guard let kind = Hazard.Kind.allCases.first(where: { $0.name == text }) else {
      throw ValidationError("--ignore takes one of \(Hazard.Kind.allCases.map(\.name).joined(separator: ", ")).")
    }
    return kind
  }

  func run() throws {
    Standard.reserve()
    Interruption.watch()
    var run = PathRun(output)
    run.begin()
    let line = Progress(name: "hazards", isForced: progress.progress)
    var worst: Hazard.Severity? = nil
    do throws(MappingError) {
      let scope: HazardScanner.Scope = pid.map { .process($0) } ?? (paths.isEmpty ? .all : .paths(paths))
      let report = try HazardScanner(ignoring: Set(ignore)).scan(
        scope, progress: line.show, isCancelled: { Interruption.isRequested })
      worst = report.worst
      run.report(report, after: line)
    } catch {
      line.end()
      run.fail(error, path: error.path ?? pid.map { FilePath("/proc/\($0)") } ?? "/proc")
    }
    let status = run.end()
    throw ExitCode(status == 0 && worst ?? .notice > .notice ? 2 : status)
  }
}

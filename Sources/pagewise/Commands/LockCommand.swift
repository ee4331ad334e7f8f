// SPDX-License-Identifier: Apache-2.0

internal import ArgumentParser
internal import MemoryMapping
internal import PageCache
internal import SystemPackage

/// `pagewise lock`: keeps files in memory as long as it runs.
struct LockCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "lock",
    abstract: "Loads files and keeps them in memory, as long as it runs.",
    discussion: """
      Maps the files and locks their pages (mlock). Once all are locked the
      report is printed, and the command stays until Ctrl-C or SIGTERM; then
      the files are as evictable as before. If one cannot be locked, nothing is
      kept.

      EXAMPLES:
        pagewise lock index.db                   until Ctrl-C
        pagewise lock -g '*.idx' /srv --seconds 3600
        pagewise lock --range ..64M data.db      its first 64 MiB

      THE LIMIT. A process may lock RLIMIT_MEMLOCK bytes, often 8 MiB. Where
      that is too little the error says what it allows, what is wanted and how
      to raise it: 'ulimit -l' up to the hard limit, LimitMEMLOCK= of a
      service, limits.conf, or CAP_IPC_LOCK.
      What would not leave a sixteenth of the memory that is free here is
      refused before anything is loaded; --exceed locks it all the same, and
      the system may end processes then.

      Holes are loaded as well, as pages of zeros, unless --on-fault.
      What a file grows by later is not locked. The pages count for the
      control group that loaded them first.

      JSON:
        As of advise, printed once all is locked.

      EXIT STATUS:
        0    all was locked, and released by a signal or after --seconds
        1    something could not be locked: nothing is kept
        64   wrong usage
        130  interrupted before all was locked
      """)

  @OptionGroup var paths: PathArguments

  @Option(
    help: ArgumentHelp("Only these bytes of each file, as far as it has them: A..B, A.. or ..B.", valueName: "range"),
    transform: ByteRange.init(argument:))
  var range: ByteRange? = nil

  @Option(help: ArgumentHelp("End after so many seconds, 0 for at once.", valueName: "seconds"))
  var seconds: Double? = nil

  @Flag(help: "Do not load what is missing; keep each page once somebody has loaded it.")
  var onFault = false

  @Flag(help: "Lock even what leaves too little memory.")
  var exceed = false

  @OptionGroup var patterns: PatternArguments
  @OptionGroup var folders: FolderArguments
  @OptionGroup var progress: ProgressArgument
  @OptionGroup var output: OutputArguments

  func validate() throws {
    if let seconds, !(0...1e9 ~= seconds) { throw ValidationError("--seconds takes a number from 0.") }
  }

  func run() throws {
    var options = LockedFiles.Options()
    options.onFault = onFault
    options.exceedsRoom = exceed
    options.patterns = patterns.patterns
    options.followsLinks = folders.follow
    options.staysOnFileSystem = folders.oneFileSystem
    Standard.reserve()
    let list = try paths.all()
    Interruption.watch()
    var locked = LockedFiles()
    let bounds = range?.bounds
    let sentence = "interrupted before all was locked; nothing is kept."
    let status = PathRun.round(list, .reports(output), progress: progress.progress, interrupted: sentence) {
      run, path, progress throws(MappingError) in
      let (files, bytes) = (locked.files, locked.bytes)
      let walk = try locked.add(
        path, range: bounds, options: options, progress: progress.show, isCancelled: { Interruption.isRequested })
      run.report(
        LockReport(
          path: path, walk: walk, files: locked.files - files, bytes: locked.bytes - bytes, isOnFault: onFault),
        after: progress)
      if let walk { run.fail(walk, path: path) }
    }
    guard status == 0 else { throw ExitCode(status) }
    Interruption.sleep(seconds: seconds ?? .infinity)
    // Here the locks end.
    _ = consume locked
  }
}

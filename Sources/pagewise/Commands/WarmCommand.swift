// SPDX-License-Identifier: Apache-2.0

internal import ArgumentParser
internal import MemoryMapping
internal import PageCache
internal import SystemPackage

/// `pagewise warm`: brings files into memory before somebody waits for them.
struct WarmCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "warm",
    abstract: "Brings files into memory before somebody waits for them; saves and replays what was hot.",
    discussion: """
      Never changes content. What is in memory already is not read again, holes
      are left out, and it ends before memory runs out: the budget is nine
      tenths of what is free here, by the control group's limit or the
      system's. Ctrl-C ends it after the window that is being loaded.

      EXAMPLES:
        pagewise warm data.db                    the whole file
        pagewise warm --range 0..64M data.db     its first 64 MiB
        pagewise warm -x -g '*.idx' /srv         files of a folder, by name
        pagewise warm --save hot.list /srv       what is in memory now ...
        pagewise warm --replay hot.list          ... again, after a restart
        pagewise warm --method request data.db   as fast as the device can

      METHODS:
        populate   window by window, each waited for: the kernel makes large
                   folios, so that who maps the file faults seldom
        request    all windows are asked for in advance: faster on devices with
                   deep queues, but in small pages, so that who maps the file
                   faults for every 16 of them

      The pages count for the control group that warms them. "lost again" are
      pages that were evicted while others were loaded: memory is short.

      JSON:
        As of advise. Reports have "kind" "file", "folder", "list" or "saved";
        cache_before and cache_after are as "cache" of residency.

      EXIT STATUS:
        0    all is well, also where the budget ended it: see the report
        1    some paths failed: missing, not readable, bytes that the device
             does not give; in a folder or list, any entry; or the output did
        64   wrong usage
        130  interrupted; what is warm until then is printed
      """)

  @OptionGroup var paths: PathArguments

  @Option(
    help: ArgumentHelp("Only these bytes of each file, as far as it has them: A..B, A.. or ..B.", valueName: "range"))
  var range: String? = nil

  @OptionGroup var patterns: PatternArguments
  @OptionGroup var folders: FolderArguments

  @Option(
    help: ArgumentHelp("Do not warm: write what is in memory of the PATHs to this list.", valueName: "list"),
    transform: RawArguments.path)
  var save: FilePath? = nil

  @Flag(help: "Each PATH is a list that --save wrote: warm what is in it.")
  var replay = false

  @Option(
    help: ArgumentHelp("populate or request.", valueName: "method"), transform: CacheWarmer.Method.init(argument:))
  var method: CacheWarmer.Method = .populate

  @Option(
    help: ArgumentHelp(
      "Bring so much into memory at most, for instance 512M; the default is what is free here.", valueName: "size"),
    transform: SizeArgument.init(argument:))
  var budget: SizeArgument? = nil

  @Option(
    help: ArgumentHelp("Bytes of a window, 64K to 1G.", valueName: "size"), transform: SizeArgument.init(argument:))
  var window: SizeArgument? = nil

  @Flag(help: "Load holes, too.")
  var holes = false

  @OptionGroup var progress: ProgressArgument
  @OptionGroup var output: OutputArguments

  func validate() throws {
    if save != nil, replay { throw ValidationError("Give --save or --replay, not both.") }
    if range != nil, save != nil || replay { throw ValidationError("--range goes with neither --save nor --replay.") }
    if let window, !(64 << 10...1 << 30 ~= window.bytes) { throw ValidationError("--window takes 64K to 1G.") }
    _ = try range.map(ByteRange.init(argument:))
  }

  func run() throws {
    if let save { return try saveList(to: save) }
    let bounds = try range.map(ByteRange.init(argument:))?.bounds
    try PathRun.run(paths, output, progress: progress.progress) { run, path, progress throws(MappingError) in
      let warmer = CacheWarmer(options: options)
      let report =
        replay
        ? warmer.warm(
          try HotRanges(contentsOf: path), progress: progress.show, isCancelled: { Interruption.isRequested })
        : try warmer.warm(
          path, range: bounds, progress: progress.show, isCancelled: { Interruption.isRequested })
      run.report(report, after: progress)
      if let walk = report.walk { run.fail(walk, path: path) }
      if let failure = report.failure { run.fail(failure, path: path) }
    }
  }

  private var options: CacheWarmer.Options {
    var options = CacheWarmer.Options()
    options.method = method
    options.window = window.map { Int($0.bytes) }
    options.budget = budget?.bytes
    options.loadsHoles = holes
    options.patterns = patterns.patterns
    options.followsLinks = folders.follow
    options.staysOnFileSystem = folders.oneFileSystem
    return options
  }

  private func saveList(to target: FilePath) throws {
    Standard.reserve()
    let list = try paths.all()
    Interruption.watch()
    var hot = HotRanges()
    let status = PathRun.round(list, .reports(output), progress: progress.progress) {
      run, path, progress throws(MappingError) in
      let walk = try hot.add(
        path, options: options, progress: progress.show, isCancelled: { Interruption.isRequested })
      if let walk { run.fail(walk, path: path) }
    } ending: { run in
      guard !Interruption.isRequested else { return }
      do throws(MappingError) {
        try hot.save(to: target)
        run.report(hot)
      } catch {
        run.fail(error, path: target)
      }
    }
    throw ExitCode(status)
  }
}

/// A number of bytes.
struct SizeArgument {
  let bytes: Int64

  init(argument: String) throws {
    guard let bytes = ByteCount.parse(argument) else {
      throw ValidationError("'\(argument)' is no size: it takes bytes, or K, M, G or T, for instance 512M.")
    }
    self.bytes = bytes
  }
}

extension ByteRange {
  var bounds: Range<Int64> { offset..<(length.map { offset + $0 } ?? .max) }
}

extension CacheWarmer.Method {
  init(argument: String) throws {
    guard let method = Self(rawValue: argument) else { throw ValidationError("--method takes populate or request.") }
    self = method
  }
}

// SPDX-License-Identifier: Apache-2.0

internal import AccessAdvisor
internal import ArgumentParser
internal import MemoryMapping
internal import SystemPackage

/// `pagewise advise`: what each path is and how it is best read.
struct AdviseCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "advise",
    abstract: "Measures the ways to read a file, or the files of a folder, and says which one to take.",
    discussion: """
      Reads only: never writes, cuts or syncs a file. Times are medians of
      rounds in random order, from opening to closing; every strategy is
      checked to have seen the same bytes.

      EXAMPLES:
        pagewise advise data.idx                 this file as it is now
        pagewise advise --cold --seconds 20 db   when it comes from the device
        pagewise advise --json a.bin b.bin       for programs; see below
        pagewise advise ~/mail                   a folder: what would be mapped,
                                                 what read, and the gain
        find . -name '*.seg' -print0 | pagewise advise -

      STRATEGIES:
        map         map the file; pages come at the first touch
        populate    map it, load all pages at once (JSON: map_populate)
        read        one buffer of the file's size; for random places one call
                    each, or the buffer if that is faster
        stream      one buffer of 256 KiB, used again and again
        FileBytes   the library's own choice, really run; regret is its time
                    divided by that of the best strategy

      JSON:
        One object: pagewise, format, reports, errors, interrupted. Each report
        has "kind" "file" or "folder". Names end in their unit: _bytes, _ns,
        _seconds, _pages. A path that is not UTF-8 has U+FFFD in its place in
        "path", and its exact bytes in hexadecimal in "path_hex".

      EXIT STATUS:
        0    all is well
        1    some paths failed: missing, not readable, no file, cut or changed
             while measured; in a folder, any entry; or the output did
        64   wrong usage
        130  interrupted; what was found until then is printed
      """)

  @Argument(
    help: ArgumentHelp(
      "Files or folders; - reads a list of them, each ended by a NUL, from standard input.", valueName: "path"),
    transform: RawArguments.path)
  var paths: [FilePath] = []

  @Option(
    name: .customLong("files0-from"),
    help: ArgumentHelp(
      "Take the paths, each ended by a NUL, from this file; - is standard input.", valueName: "list"),
    transform: RawArguments.path)
  var listFile: FilePath? = nil

  @Option(
    name: [.short, .long],
    help: ArgumentHelp(
      "Time to spend on each path, in seconds, 0.02 to 86400; some more on slow devices.", valueName: "n"))
  var seconds: Double = 5

  @Flag(help: "Evict the file from memory before each timing, and say whether that worked.")
  var cold = false

  @Flag(help: "Print JSON.")
  var json = false

  @Flag(help: "In folders, follow symbolic links; loops are found and left out.")
  var follow = false

  @Flag(
    name: [.customShort("x"), .customLong("one-file-system")], help: "In folders, stay on the file system of PATH.")
  var oneFileSystem = false

  @Flag(help: "Show progress on standard error even where that is no terminal.")
  var progress = false

  @Flag(help: "No colours and bars. The same as NO_COLOR=1.")
  var plain = false

  func validate() throws {
    guard seconds.isFinite, seconds >= 0.02, seconds <= 86_400 else {
      throw ValidationError("--seconds takes a number from 0.02 to 86400.")
    }
    if paths.isEmpty && listFile == nil { throw ValidationError("Give at least one PATH, or --files0-from.") }
    if !paths.isEmpty && listFile != nil { throw ValidationError("Give PATHs or --files0-from, not both.") }
    if paths.contains(where: \.isEmpty) { throw ValidationError("A PATH is empty.") }
  }

  func run() throws {
    Standard.reserve()
    let list = try allPaths()
    // Only now: while a list is awaited, an interruption ends the program.
    Interruption.watch()
    var run = AdviseRun(self, style: Style(isPlain: plain))
    throw ExitCode(run.all(list))
  }

  private func allPaths() throws -> [FilePath] {
    var all: [FilePath] = []
    for path in listFile.map({ [$0] }) ?? paths {
      guard listFile != nil || path == PathList.standardInput else {
        all.append(path)
        continue
      }
      do {
        all += try PathList.read(from: path)
      } catch {
        Standard.error("pagewise: cannot read the list of paths from '\(PathText.shown(path))': \(error).\n")
        throw ExitCode.validationFailure
      }
    }
    return all
  }
}

/// One run over a list of paths.
struct AdviseRun {
  private let command: AdviseCommand
  private let style: Style
  private let output: ReportOutput
  private var failed = false

  init(_ command: AdviseCommand, style: Style) {
    self.command = command
    self.style = style
    self.output = command.json ? .json(JSONReports()) : .text(style)
  }

  /// The exit status.
  mutating func all(_ paths: [FilePath]) -> Int32 {
    output.begin()
    for path in paths {
      if Interruption.isRequested || Standard.outputFailure != nil { break }
      do throws(MappingError) {
        try one(path)
      } catch {
        failed = true
        output.failure(error, path: path)
      }
    }
    output.end(wasInterrupted: Interruption.isRequested)
    if let reason = Standard.outputFailure {
      // A reader that went away has what it wanted.
      if reason != .brokenPipe { Standard.error("pagewise: cannot write to standard output: \(reason).\n") }
      return 1
    }
    return Interruption.isRequested ? 130 : failed ? 1 : 0
  }

  private mutating func one(_ path: FilePath) throws(MappingError) {
    let progress = Progress(name: PathText.shown(path), isForced: command.progress)
    defer { progress.end() }
    var options = FileAdvisor.Options()
    options.seconds = command.seconds
    options.isCold = command.cold
    do throws(MappingError) {
      let report = try FileAdvisor(options: options).advise(
        path, progress: progress.show, isCancelled: { Interruption.isRequested })
      progress.end()
      output.report(report)
      return
    } catch {
      guard error.code == .isDirectory else { throw error }
    }
    var tree = TreeAdvisor.Options()
    tree.seconds = command.seconds
    tree.isCold = command.cold
    tree.followsLinks = command.follow
    tree.staysOnFileSystem = command.oneFileSystem
    let report = try TreeAdvisor(options: tree).advise(
      path, progress: progress.show, isCancelled: { Interruption.isRequested })
    progress.end()
    output.report(report)
    for failure in report.walk.firstFailures { output.failure(failure, path: failure.path ?? path) }
    if report.walk.failures > 0 { failed = true }
  }
}

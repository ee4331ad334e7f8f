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

  @OptionGroup var paths: PathArguments

  @Option(
    name: [.short, .long],
    help: ArgumentHelp(
      "Time to spend on each path, in seconds, 0.02 to 86400; some more on slow devices.", valueName: "n"))
  var seconds: Double = 5

  @Flag(help: "Evict the file from memory before each timing, and say whether that worked.")
  var cold = false

  @OptionGroup var folders: FolderArguments
  @OptionGroup var progress: ProgressArgument
  @OptionGroup var output: OutputArguments

  func validate() throws {
    guard seconds.isFinite, seconds >= 0.02, seconds <= 86_400 else {
      throw ValidationError("--seconds takes a number from 0.02 to 86400.")
    }
  }

  func run() throws { try PathRun.run(paths, output, progress: progress.progress, one: advise) }

  private func advise(_ run: inout PathRun, _ path: FilePath, _ progress: Progress) throws(MappingError) {
    var options = FileAdvisor.Options()
    options.seconds = seconds
    options.isCold = cold
    do throws(MappingError) {
      let report = try FileAdvisor(options: options).advise(
        path, progress: progress.show, isCancelled: { Interruption.isRequested })
      run.report(report, after: progress)
      return
    } catch {
      guard error.code == .isDirectory else { throw error }
    }
    var tree = TreeAdvisor.Options()
    tree.seconds = seconds
    tree.isCold = cold
    tree.followsLinks = folders.follow
    tree.staysOnFileSystem = folders.oneFileSystem
    let report = try TreeAdvisor(options: tree).advise(
      path, progress: progress.show, isCancelled: { Interruption.isRequested })
    run.report(report, after: progress)
    run.fail(report.walk, path: path)
  }
}

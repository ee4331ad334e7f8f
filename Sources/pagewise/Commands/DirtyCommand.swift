// SPDX-License-Identifier: Apache-2.0

internal import ArgumentParser
internal import MemoryMapping
internal import PageCache
internal import SystemPackage

/// `pagewise dirty`: what of files is in memory and not yet on the device.
struct DirtyCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "dirty",
    abstract: "Shows what of files is in memory and not yet on the device.",
    discussion: """
      Reads only, and no content: nothing is loaded, no time is changed. Of a
      folder all files below it are summed, and those with most to write named.

      EXAMPLES:
        pagewise dirty data.db                   one file
        pagewise dirty --top 30 -x /var          a folder: the 30 files with
                                                 most to write
        pagewise dirty --json /srv/a /srv/b      for programs

      HOW IT IS COUNTED:
        In whole folios, as the kernel marks them: one stored byte counts, and
        will be written, as up to 2 MiB, and the last page of a file counts
        whole. "waiting" is marked as dirty, "write-back" is on its way now.
        The kernel (Linux 6.5 or later) tells of files that this user owns or
        may write; of others it is "not permitted", and before that version
        "not known": such files are counted apart, never as 0.

      JSON:
        As of advise. Reports have "kind" "file" or "folder"; "dirty" has
        waiting_bytes and write_back_bytes, null where no file is known, and
        says with "complete" whether all files are in.

      EXIT STATUS:
        0    all is well, also where something is dirty, or hidden
        1    some paths failed: missing, not readable; in a folder, any entry;
             or the output did
        64   wrong usage
        130  interrupted; what was found until then is printed
      """)

  @OptionGroup var paths: PathArguments

  @Option(help: ArgumentHelp("How many files of a folder to name, 0 to 100000.", valueName: "n"))
  var top = 10

  @OptionGroup var folders: FolderArguments
  @OptionGroup var progress: ProgressArgument
  @OptionGroup var output: OutputArguments

  func validate() throws {
    guard 0...100_000 ~= top else { throw ValidationError("--top takes a number from 0 to 100000.") }
  }

  func run() throws { try PathRun.run(paths, output, progress: progress.progress, one: look) }

  private func look(_ run: inout PathRun, _ path: FilePath, _ progress: Progress) throws(MappingError) {
    var options = DirtyScanner.Options()
    options.top = top
    options.followsLinks = folders.follow
    options.staysOnFileSystem = folders.oneFileSystem
    let report = try DirtyScanner(options: options).scan(
      path, progress: progress.show, isCancelled: { Interruption.isRequested })
    run.report(report, after: progress)
    if let walk = report.walk { run.fail(walk, path: path) }
  }
}

// SPDX-License-Identifier: Apache-2.0

internal import ArgumentParser
internal import MemoryMapping
internal import PageCache
internal import SystemPackage

/// `pagewise who`: which processes map or hold files.
struct WhoCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "who",
    abstract: "Shows which processes map files or have them open, and what of them they keep in memory.",
    discussion: """
      Reads only, and no content. Of a folder, the files below it that
      somebody holds are shown. All PATHs together take one look at all
      processes.

      EXAMPLES:
        pagewise who data.db                     one file
        pagewise who -x /srv/app                 all files below a folder
        pagewise who --json *.so                 for programs
        find . -name '*.seg' -print0 | pagewise who -

      WHAT IS SHOWN:
        mapped     how often, which bytes of the file, and the permissions:
                   as in /proc, s shared and p private
        resident   in memory and mapped by the process (RSS)
        share      the same, each page divided by its mappings (PSS)
        dirty      mapped, and not on the device (Shared_, Private_Dirty)
        locked     locked into memory, as a share
        open       descriptors, and what they may do

      Files are found by device and inode, never by name. Not seen: loop
      devices and swap files, descriptors on their way through a socket,
      deleted files below a folder (see hazards), processes of other PID
      namespaces. Processes of other users are seen by root only; those
      that could not be read are counted.

      JSON:
        As of advise. Reports have "kind" "file" or "folder", "processes"
        with seen, unknown, hidden and complete, and "files", each with its
        holders. What was gone before it could be read is null.

      EXIT STATUS:
        0    all is well, whether somebody holds a file or not
        1    some paths failed: missing; in a folder, any entry; or the output
             did
        64   wrong usage
        130  interrupted; what was found until then is printed
      """)

  @OptionGroup var paths: PathArguments
  @OptionGroup var folders: FolderArguments
  @OptionGroup var progress: ProgressArgument
  @OptionGroup var output: OutputArguments

  func run() throws {
    Standard.reserve()
    let list = try paths.all()
    Interruption.watch()
    var run = PathRun(output)
    run.begin()
    let line = Progress(name: "who", isForced: progress.progress)
    do throws(MappingError) {
      var options = HolderScanner.Options()
      options.followsLinks = folders.follow
      options.staysOnFileSystem = folders.oneFileSystem
      let scan = try HolderScanner(options: options).scan(
        list, progress: line.show, isCancelled: { Interruption.isRequested })
      line.end()
      for failure in scan.failures { run.fail(failure.error, path: failure.path) }
      for report in scan.reports where Standard.outputFailure == nil {
        run.report(report)
        if let walk = report.walk { run.fail(walk, path: report.path) }
      }
    } catch {
      line.end()
      run.fail(error, path: error.path ?? "/proc")
    }
    throw ExitCode(run.end())
  }
}

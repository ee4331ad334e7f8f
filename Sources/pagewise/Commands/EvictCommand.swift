// SPDX-License-Identifier: Apache-2.0

internal import ArgumentParser
internal import MemoryMapping
internal import PageCache
internal import SystemPackage

/// `pagewise evict`: takes files out of the page cache, and says what stayed.
struct EvictCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "evict",
    abstract: "Takes files out of the page cache; counts what stayed, and names who holds it.",
    discussion: """
      Changes no content, and takes nothing from those who use a file. What is
      dirty is brought to the device first, or left alone with --no-sync.

      EXAMPLES:
        pagewise evict old.log                   one file
        pagewise evict -x -g '*.log' /var/log    files of a folder, by name
        pagewise evict --range 1G.. data.db      all but the first GiB
        pagewise evict --no-sync data.db         not if it is dirty

      WHY PAGES STAY. The kernel drops only pages that are clean and in no
      process's page table, and reports success for the others as well. So
      everything is counted again, and for what stayed the reason is told:
        mapped      by the processes that are named, how often; what they have
                    locked stays until they unlock it. A page that two
                    mappings show goes when both have let go
        dirty       stored after the sync, or left alone by --no-sync
        write-back  on its way to the device: try again
        no device   a tmpfs: there is nowhere to bring it back from
      Processes of other users are seen by root only; those that could not be
      looked into are counted.

      JSON:
        As of advise. Reports have "kind" "file" or "folder"; cache_before and
        cache_after are as "cache" of residency; "stayed" has files with their
        reasons and holders.

      EXIT STATUS:
        0    all is well and nothing stayed
        1    some paths failed: missing, not readable, a sync; in a folder, any
             entry; or the output did
        2    nothing failed, and pages stayed, or it is not permitted to know
             whether any did: see the report
        64   wrong usage
        130  interrupted; what was evicted until then is printed
      """)

  @OptionGroup var paths: PathArguments

  @Option(
    help: ArgumentHelp("Only these bytes of each file, as far as it has them: A..B, A.. or ..B.", valueName: "range"),
    transform: ByteRange.init(argument:))
  var range: ByteRange? = nil

  @Flag(help: "Do not bring what is dirty to the device: leave those files alone.")
  var noSync = false

  @Flag(help: "Do not look up who holds what stays.")
  var noHolders = false

  @OptionGroup var patterns: PatternArguments
  @OptionGroup var folders: FolderArguments
  @OptionGroup var progress: ProgressArgument
  @OptionGroup var output: OutputArguments

  func run() throws {
    var options = CacheEvictor.Options()
    options.dirty = noSync ? .refuse : .sync
    options.namesHolders = !noHolders
    options.patterns = patterns.patterns
    options.followsLinks = folders.follow
    options.staysOnFileSystem = folders.oneFileSystem
    let evictor = CacheEvictor(options: options)
    let bounds = range?.bounds
    Standard.reserve()
    let list = try paths.all()
    Interruption.watch()
    var stayed = false
    let status = PathRun.round(list, .reports(output), progress: progress.progress) {
      run, path, progress throws(MappingError) in
      let report = try evictor.evict(
        path, range: bounds, progress: progress.show, isCancelled: { Interruption.isRequested })
      run.report(report, after: progress)
      if report.after.resident > 0 || report.refused > 0 || !report.after.isComplete { stayed = true }
      if let walk = report.walk { run.fail(walk, path: path) }
    }
    throw ExitCode(status == 0 && stayed ? 2 : status)
  }
}

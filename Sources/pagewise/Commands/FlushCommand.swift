// SPDX-License-Identifier: Apache-2.0

internal import ArgumentParser
internal import MemoryMapping
internal import PageCache
internal import SystemPackage

/// `pagewise flush`: brings what is dirty of files to the device.
struct FlushCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "flush",
    abstract: "Brings what is dirty of files to the device, whoever stored it.",
    discussion: """
      Never changes content, and needs no more than the right to read. Of a
      folder all regular files below it are flushed, then the names in its
      folders, from the bottom up.

      EXAMPLES:
        pagewise flush data.db                   until the device has it
        pagewise flush --level device --names new.db
                                                 the times and its name too
        pagewise flush -x /var/lib/app           a folder, on one file system
        pagewise flush --level queued big.bin    begin to write, do not wait
        find . -name '*.seg' -print0 | pagewise flush -

      LEVELS:
        queued    the kernel has begun to write; a power cut may take any of it
        data      content, size and blocks are on the device (fdatasync)
        device    the same, with times and mode (fsync; macOS: F_FULLFSYNC)
        barrier   nothing stored later gets there before what was stored
                  earlier (Linux: as data; macOS: F_BARRIERFSYNC)

      A FAILED SYNC IS FINAL. The kernel tells it once and forgets which bytes
      were lost: a later success proves nothing, so nothing is tried again.
      Compare the files with their source, or restore them.

      JSON:
        As of advise. Reports have "kind" "file" or "folder"; dirty_before and
        dirty_after have waiting_bytes and write_back_bytes, null where the
        kernel hides them, and say with "complete" whether all files are in.

      EXIT STATUS:
        0    all is well
        1    some paths failed: a sync, missing, not readable; in a folder, any
             entry; or the output did
        64   wrong usage
        130  interrupted; what was flushed until then is printed
      """)

  @OptionGroup var paths: PathArguments

  @Option(
    help: ArgumentHelp("How far: queued, data, device or barrier.", valueName: "level"),
    transform: FlushLevel.init(argument:))
  var level: FlushLevel = .data

  @Flag(help: "Also make the name of each PATH durable: sync the folder it lies in.")
  var names = false

  @OptionGroup var folders: FolderArguments
  @OptionGroup var progress: ProgressArgument
  @OptionGroup var output: OutputArguments

  func run() throws { try PathRun.run(paths, output, progress: progress.progress, one: flush) }

  private func flush(_ run: inout PathRun, _ path: FilePath, _ progress: Progress) throws(MappingError) {
    var options = FileFlusher.Options()
    options.level = level
    options.syncsName = names
    options.followsLinks = folders.follow
    options.staysOnFileSystem = folders.oneFileSystem
    let report = try FileFlusher(options: options).flush(
      path, progress: progress.show, isCancelled: { Interruption.isRequested })
    run.report(report, after: progress)
    if let walk = report.walk { run.fail(walk, path: path) }
  }
}

extension FlushLevel {
  init(argument: String) throws {
    guard let level = Self.allCases.first(where: { $0.name == argument }) else {
      throw ValidationError("--level takes queued, data, device or barrier.")
    }
    self = level
  }

  var name: String {
    switch self {
    case .queued: "queued"
    case .data: "data"
    case .device: "device"
    case .barrier: "barrier"
    }
  }
}

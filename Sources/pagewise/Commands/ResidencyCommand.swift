// SPDX-License-Identifier: Apache-2.0

internal import ArgumentParser
internal import MemoryMapping
internal import PageCache
internal import SystemPackage

/// `pagewise residency`: what the page cache holds of files.
struct ResidencyCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "residency",
    abstract: "Shows what of files is in memory, which parts, and what of it is dirty or was evicted.",
    discussion: """
      Reads only, and no content: nothing is loaded, no time is changed. Of a
      folder all files below it are summed, and the first in order named. Files
      are counted once, whatever names they have and under whichever PATH.

      EXAMPLES:
        pagewise residency data.db               one file, with its ranges
        pagewise residency --top 30 -x /var      the 30 files with most memory
        pagewise residency --sort missing -g '*.idx' /srv
                                                 what would have to be warmed
        pagewise residency --watch 2 data.db     every two seconds
        pagewise residency -o RES,DIRTY,FILE --raw /srv
                                                 a row for every file
        find . -print0 | pagewise residency --json -
        pagewise residency --openmetrics --into /var/lib/node/cache.prom /srv

      WHAT IS COUNTED:
        resident    pages in the page cache, whoever put them there
        dirty       of these, pages that wait for their write-back, in whole
                    folios: one stored byte counts as up to 2 MiB
        write-back  on their way to the device now
        evicted     pages that were in memory and are not; recently: so lately
                    that the cache is too small for those who read them
        per fault   how many pages a touch maps: 16 where the cache has small
                    pages, up to 512 where it has large folios
        The kernel (Linux 6.5 or later) tells of files that this user owns or
        may write; of others it is "not permitted", and they are in no sum.

      COLUMNS for -o (all for all of them, +NAME for the usual ones and NAME):
        FILE SIZE SHARE RES PAGES DIRTY DIRTY_PAGES WRITEBACK WRITEBACK_PAGES
        EVICTED EVICTED_PAGES RECENTLY_EVICTED RECENTLY_EVICTED_PAGES
        TOTAL_PAGES ALLOCATED PER_FAULT RANGES
        A cell that the kernel hides is "not-permitted", one that it cannot
        tell "-". In --raw, what is no plain character in FILE is \\x and its
        two hexadecimal digits.

      JSON:
        As of advise. Reports have "kind" "file", "folder" or "total"; "cache"
        has bytes and pages, null where no file is known, and says with
        "complete" whether all files are in. With --watch one object each time.

      EXIT STATUS:
        0    all is well, also where something is hidden
        1    some paths failed: missing, not readable; in a folder, any entry;
             or the output did
        64   wrong usage
        130  interrupted; what was found until then is printed. --watch ends
             so, and with 0
      """)

  @OptionGroup var paths: PathArguments

  @Option(
    help: ArgumentHelp("How many files of a folder to name: 0 to 100000, or all.", valueName: "n"),
    transform: TopArgument.init(argument:))
  var top: TopArgument? = nil

  @Option(
    help: ArgumentHelp("What comes first: resident, missing, dirty, evicted or size.", valueName: "key"),
    transform: ResidencyScanner.Options.Order.init(argument:))
  var sort: ResidencyScanner.Options.Order? = nil

  @OptionGroup var folders: FolderArguments
  @OptionGroup var patterns: PatternArguments

  @Flag(help: "Also list which byte ranges of each named file are resident.")
  var ranges = false

  @Option(
    name: [.customShort("o"), .customLong("output")],
    help: ArgumentHelp("A row for each file, with these columns, separated by commas.", valueName: "columns"),
    transform: ResidencyColumn.list)
  var columns: [ResidencyColumn]? = nil

  @Flag(help: "A row for each file, in exact numbers with one space between them.")
  var raw = false

  @Flag(name: .shortAndLong, help: "In rows, print bytes without a unit.")
  var bytes = false

  @Flag(name: .shortAndLong, help: "In rows, no headings.")
  var noheadings = false

  @Flag(name: .customShort("c"), help: "In rows, a last row with the sums.")
  var total = false

  @Option(help: ArgumentHelp("Look again every so many seconds, 0.1 to 86400.", valueName: "seconds"))
  var watch: Double? = nil

  @Option(help: ArgumentHelp("With --watch, end after so many looks.", valueName: "n"))
  var count: Int? = nil

  @Flag(help: "Print OpenMetrics text, as the textfile collector of node-exporter reads it.")
  var openmetrics = false

  @Option(
    help: ArgumentHelp("With --openmetrics, replace this file instead, all at once.", valueName: "file"),
    transform: RawArguments.path)
  var into: FilePath? = nil

  @OptionGroup var progress: ProgressArgument
  @OptionGroup var output: OutputArguments

  var isInRows: Bool { columns != nil || raw }

  func validate() throws {
    if let watch, !(0.1...86_400 ~= watch) { throw ValidationError("--watch takes a number from 0.1 to 86400.") }
    if let count, watch == nil || count < 1 { throw ValidationError("--count takes a number from 1, with --watch.") }
    if into != nil, !openmetrics { throw ValidationError("--into goes with --openmetrics.") }
    let forms = [(isInRows, "-o or --raw"), (output.json, "--json"), (openmetrics, "--openmetrics")].filter(\.0)
    if forms.count > 1 { throw ValidationError("Give one of \(forms.map(\.1).joined(separator: ", ")).") }
    if !isInRows, bytes || noheadings || total { throw ValidationError("-b, -n and -c go with -o or --raw.") }
    if ranges, isInRows || openmetrics { throw ValidationError("--ranges goes with tables and --json.") }
  }

  func run() throws {
    Standard.reserve()
    let list = try paths.all()
    Interruption.watch()
    var looks = ResidencyLooks(command: self)
    guard let watch else { throw ExitCode(looks.look(list)) }
    var done = 0
    while true {
      if Standard.isTerminal(.standardOutput), !output.json, !isInRows { Standard.output("\u{1B}[H\u{1B}[2J") }
      let status = looks.look(list)
      done += 1
      if Interruption.isRequested { throw ExitCode(status == 130 ? 0 : status) }
      if Standard.outputFailure != nil || count.map({ done >= $0 }) ?? false { throw ExitCode(status) }
      Interruption.sleep(seconds: watch)
      if Interruption.isRequested { throw ExitCode(status) }
    }
  }

  var options: ResidencyScanner.Options {
    var options = ResidencyScanner.Options()
    // Rows come as the files are met, unless they need an order, or more than the walk tells.
    let waits = sort != nil || columns.map { $0.contains(.ranges) || $0.contains(.perFault) } ?? false
    options.top = top.map(\.number) ?? (isInRows ? (waits ? nil : 0) : 10)
    options.order = sort ?? .resident
    options.patterns = patterns.patterns
    options.followsLinks = folders.follow
    options.staysOnFileSystem = folders.oneFileSystem
    if isInRows {
      options.parts = columns?.contains(.ranges) == true ? ResidencyColumn.rangeParts : 0
      options.samplesFaults = columns?.contains(.perFault) == true
    } else if !openmetrics {
      options.parts = output.json ? 64 : ResidencyTable.parts
      options.samplesFaults = true
    }
    return options
  }
}

/// A number of files, or all of them.
struct TopArgument {
  /// Nil for all.
  let number: Int?

  init(argument: String) throws {
    guard argument != "all" else {
      number = nil
      return
    }
    guard let number = Int(argument), 0...100_000 ~= number else {
      throw ValidationError("--top takes a number from 0 to 100000, or all.")
    }
    self.number = number
  }
}

extension ResidencyScanner.Options.Order {
  init(argument: String) throws {
    guard let order = Self(rawValue: argument) else {
      throw ValidationError("--sort takes \(Self.allCases.map(\.rawValue).joined(separator: ", ")).")
    }
    self = order
  }
}

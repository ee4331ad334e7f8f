// SPDX-License-Identifier: Apache-2.0

internal import ArgumentParser
internal import MemoryMapping
internal import PageCache
internal import SystemPackage

/// `pagewise stream`: copies files to standard output without washing out the page cache, or sums them.
struct StreamCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "stream",
    abstract: "Copies files to standard output and leaves the page cache as it was.",
    discussion: """
      As cat, in constant memory: what it brings into the page cache it drops
      again, and what was there before stays, of this file and of all others.

      EXAMPLES:
        pagewise stream backup.img | zstd > backup.zst
        pagewise stream --range 1G..2G disk.img | consumer
        pagewise stream --sum crc32c *.bin       checksums, no bytes
        pagewise stream --stats big.log | wc -l  what was done, on standard
                                                 error

      PATH is a file, a block device, a FIFO, or - for standard input, which
      is copied from where it is. Bytes that are appended meanwhile are not
      read. A file that is cut meanwhile is an error, with its place.

      METHODS:
        measured   each of the others in turn at the beginning of a large
                   file, then the fastest
        map        map windows; nothing is copied on the way in
        read       read into one buffer
        dontcache  read, and the kernel drops what it read (Linux 6.14)
        direct     past the page cache (O_DIRECT)
      A method that is refused here is replaced by read; --stats says so.

      SIZES are bytes, or have a binary unit: 4096, 64K, 1MiB, 2G. A range is
      A..B without the byte B; either end may be left out.

      JSON:
        As of advise, with reports of "kind" "stream": on standard output with
        --sum, and on standard error with --stats alone.

      EXIT STATUS:
        0    all is well
        1    some paths failed: missing, not readable, cut meanwhile; or the
             output did
        64   wrong usage
        130  interrupted
      """)

  @Argument(
    help: ArgumentHelp("Files; - is standard input. A file of this name is ./-.", valueName: "path"),
    transform: RawArguments.path)
  var paths: [FilePath]

  @Option(
    help: ArgumentHelp("measured, map, read, dontcache or direct.", valueName: "method"),
    transform: StreamedFile.Method.init(argument:))
  var method: StreamedFile.Method = .measured

  @Option(
    help: ArgumentHelp("Bytes that are read and written at a time.", valueName: "size"),
    transform: {
      guard let size = ByteCount.parse($0), let bytes = Int(exactly: size), bytes > 0 else {
        throw ValidationError("--chunk takes a size such as 4096, 64K or 1M.")
      }
      return bytes
    })
  var chunk: Int? = nil

  @Option(help: ArgumentHelp("Only these bytes of each path.", valueName: "a..b"), transform: ByteRange.init(argument:))
  var range: ByteRange? = nil

  @Option(
    help: ArgumentHelp("Print this checksum of each path instead of its bytes: crc32c.", valueName: "name"),
    transform: {
      guard $0.lowercased() == "crc32c" else { throw ValidationError("--sum takes crc32c.") }
      return $0
    })
  var sum: String? = nil

  @Flag(help: "Say on standard error how each path was read.")
  var stats = false

  @OptionGroup var output: OutputArguments

  func validate() throws {
    if paths.contains(where: \.isEmpty) { throw ValidationError("A PATH is empty.") }
    if output.json, sum == nil, !stats {
      throw ValidationError("--json is for --sum or --stats; the bytes themselves are no JSON.")
    }
  }

  func run() throws {
    let hasInput = Standard.isOpen(.standardInput)
    Standard.reserve()
    Interruption.watch()
    let endsBySignal = BrokenPipe.watch()
    let reports: ReportOutput =
      output.json
      ? .json(JSONReports(on: sum == nil ? .standardError : .standardOutput)) : .text(Style(isPlain: output.plain))
    if output.json { reports.begin() }
    var failed = false
    for path in paths {
      if Interruption.isRequested || Standard.outputFailure != nil { break }
      do throws(MappingError) {
        guard hasInput || path != PathList.standardInput else {
          throw MappingError(.notFound, operation: .read, detail: .note("standard input is closed"))
        }
        try stream(path, reports)
      } catch {
        failed = true
        reports.failure(error, path: path)
      }
    }
    reports.end(interrupted: Interruption.isRequested ? "interrupted; the rest was not read." : nil)
    if let reason = Standard.outputFailure {
      // A reader that went away has what it wanted.
      if reason != .brokenPipe { Standard.error("pagewise: cannot write to standard output: \(reason).\n") }
      if reason == .brokenPipe, endsBySignal { BrokenPipe.end() }
      throw ExitCode(1)
    }
    throw ExitCode(Interruption.isRequested ? 130 : failed ? 1 : 0)
  }

  private func stream(_ path: FilePath, _ reports: ReportOutput) throws(MappingError) {
    let file = try open(path)
    if sum != nil {
      let (sum, report) = try file.crc32c(isCancelled: { Interruption.isRequested })
      guard report.ending != .cancelled else { return }
      let result = StreamResult(path: path, report: report, sum: sum, showsStatistics: stats)
      if output.json {
        reports.report(result)
      } else {
        Standard.output(result.sumLine)
        if stats { Standard.error(result.text(Style(isPlain: true))) }
      }
      return
    }
    var pass = try file.pass()
    // A write that fails ends the pass; why is kept by the stream.
    var isWritten = true
    while isWritten, let chunk = try pass.next(isCancelled: { Interruption.isRequested }) {
      isWritten = Standard.output(chunk.bytes)
    }
    let report = try pass.finish()
    guard isWritten || Standard.outputFailure != nil || Interruption.isRequested else {
      throw MappingError(.faulted, operation: .read)
    }
    guard stats else { return }
    let result = StreamResult(path: path, report: report, sum: nil, showsStatistics: true)
    if output.json { reports.report(result) } else { Standard.error(result.text(Style(isPlain: true))) }
  }

  private func open(_ path: FilePath) throws(MappingError) -> StreamedFile {
    let size = chunk.map { StreamedFile.ChunkSize.bytes($0) } ?? .automatic
    let (offset, length) = (range?.offset ?? 0, range?.length)
    guard path == PathList.standardInput else {
      return try StreamedFile(path, method: method, chunk: size, offset: offset, length: length)
    }
    // A file on standard input is copied from where the shell or another program has left it.
    let position = (try? FileDescriptor.standardInput.seek(offset: 0, from: .current)) ?? 0
    let (sum, overflow) = offset.addingReportingOverflow(position)
    return try StreamedFile(
      descriptor: .standardInput, method: method, chunk: size, offset: overflow ? .max : sum, length: length)
  }
}

extension StreamedFile.Method {
  init(argument: String) throws {
    guard let method = Self.allCases.first(where: { $0.rawValue.lowercased() == argument.lowercased() }) else {
      throw ValidationError("--method takes measured, map, read, dontcache or direct.")
    }
    self = method
  }
}

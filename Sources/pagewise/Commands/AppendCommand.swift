// SPDX-License-Identifier: Apache-2.0

internal import ArgumentParser
internal import MemoryMapping
internal import SystemPackage

/// `pagewise append`: appends the records of standard input to a growable file.
struct AppendCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "append",
    abstract: "Appends the records on standard input to a growable file.",
    discussion: """
      PATH is a file of GrowableMappedFile, and is made when it is missing. One
      writer at a time; readers see whole records as they come, never a part of
      one, whatever ends this program. Memory stays the same for input of any
      length and for records of any length.

      EXAMPLES:
        journalctl -f | pagewise append events.log
        pagewise append --null names.log < names0
        sensor | pagewise append --stride 16 --flush-every 1000 samples.bin
        tail -c +4097 events.log                 what was appended: the data
                                                 begins at byte 4096

      RECORDS:
        Lines, with their line feed; a last one without it is kept as it is.
        With --null each ends with a NUL, which is kept. With --stride each has
        N bytes; a new file keeps N, and one that has a stride takes no others.
        Bytes at the end that are no whole record are an error, and all whole
        ones before them are appended.

      DURABILITY:
        At the end everything is brought to the device, unless --no-flush is
        given; then a power cut may take what was appended, from the end. The
        end of this program takes nothing.

      JSON:
        As of advise, with one report of "kind" "growable".

      EXIT STATUS:
        0    all of standard input was appended
        1    it was not: no space, a rest that is no record, not one of our
             files, another writer; or the output failed. Records that were
             appended stay, and none is torn
        64   wrong usage
        130  interrupted, after a whole record; what was appended is printed
      """)

  @Argument(
    help: ArgumentHelp("The file to append to. A file named - is ./-.", valueName: "path"),
    transform: RawArguments.path)
  var path: FilePath

  @Flag(name: [.customShort("0"), .customLong("null")], help: "Records end with a NUL.")
  var null = false

  @Option(help: ArgumentHelp("Records have n bytes, 1 to 2147483648.", valueName: "n"))
  var stride: Int? = nil

  @Option(help: ArgumentHelp("Bring everything to the device after each n records.", valueName: "n"))
  var flushEvery: Int? = nil

  @Flag(name: .customLong("no-flush"), help: "Do not wait for the device at the end.")
  var noFlush = false

  @Flag(name: .customLong("no-create"), help: "Fail when PATH is missing.")
  var noCreate = false

  @OptionGroup var output: OutputArguments

  func validate() throws {
    if path.isEmpty { throw ValidationError("The PATH is empty.") }
    if path == PathList.standardInput { throw ValidationError("The PATH is a file; one named - is ./-.") }
    if null && stride != nil { throw ValidationError("Give --null or --stride, not both.") }
    if let stride, !(1...(1 << 31) ~= stride) { throw ValidationError("--stride takes a number from 1 to 2147483648.") }
    if let flushEvery, flushEvery < 1 { throw ValidationError("--flush-every takes a number from 1.") }
  }

  func run() throws {
    let hasInput = Standard.isOpen(.standardInput)
    Standard.reserve()
    guard hasInput else {
      Standard.error("pagewise: standard input is closed; there is nothing to append.\n")
      throw ExitCode(1)
    }
    Interruption.watch()
    var run = PathRun(output)
    run.begin()
    var leftOver = 0
    do throws(MappingError) {
      let report = try append()
      leftOver = report.appended.leftOver
      run.report(report)
      if var failure = report.appended.failure {
        if failure.path == nil { failure.operation = .init("read standard input for") }
        run.fail(failure, path: path)
      }
      if let failure = report.flushFailure { run.fail(failure, path: path) }
    } catch {
      run.fail(error, path: path)
    }
    let rest = leftOver == 0 ? "" : "; \(Figures.count(leftOver, "byte", "bytes")) of the next one were not appended"
    throw ExitCode(run.end(interrupted: "interrupted after a whole record\(rest)."))
  }

  private func append() throws(MappingError) -> AppendReport {
    let begin = Standard.now
    var options = GrowableMappedFile.Options()
    // As long as a file can be: addresses cost nothing.
    options.maximumSize = 1 << 43
    options.stride = stride ?? 0
    var file = try GrowableMappedFile(path, creating: !noCreate, options: options)
    let framing: RecordFraming = stride.map { .fixed($0) } ?? (null ? .nullTerminated : .lines)
    let appended = try file.append(recordsFrom: .standardInput, framing: framing, flushEvery: flushEvery) {
      Interruption.isRequested
    }
    var report = AppendReport(
      path: path, appended: appended, stride: file.stride, committed: file.count, durable: file.durableCount,
      flushFailure: nil, seconds: 0)
    if !file.isPoisoned {
      do throws(MappingError) {
        if !noFlush { try file.flush() }
        report.durable = file.durableCount
        try file.close(flushing: false)
      } catch {
        report.flushFailure = error
      }
    }
    report.seconds = Standard.now - begin
    return report
  }
}

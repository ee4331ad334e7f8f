// SPDX-License-Identifier: Apache-2.0

internal import ArgumentParser
internal import MemoryMapping
internal import PageCache
internal import SystemPackage

/// `pagewise explain`: what an address of a process is, and why an access to it fails.
struct ExplainCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "explain",
    abstract: "Explains an address: which byte of which file it is, and why an access to it is a SIGBUS or SIGSEGV.",
    discussion: """
      Reads only. The list of mappings comes from a process that runs, from the
      core of one that died, or from a saved text.

      EXAMPLES:
        pagewise explain --core core             the access that ended it
        pagewise explain --core core 7f0012345678
                                                 another address of it
        pagewise explain --pid 1234 0x7f0012345678
        pagewise explain --maps saved.txt 7f0012345678
        ssh host cat /proc/1234/maps | pagewise explain --maps - 7f0012345678

      WHAT IS SAID:
        The mapping, its permissions and its file; the byte and the page of the
        file; whether that lies past the end, and whether the file was deleted
        or replaced; the likely cause, and what to do. For a process that runs,
        the mapped file itself is looked at (as root, also when it has lost its
        name). For cores and texts it is the file that stands at the path now:
        look soon, on the same machine.

      CORES:
        ELF, little endian, 32 or 64 bits. Only headers and notes are read, and
        a core that was cut is enough when it still has them. systemd keeps
        cores packed: coredumpctl dump -o core.

      JSON:
        As of advise. There is one report with address, place, signal, mapping,
        below and above (the neighbours of an address in no mapping), file,
        cause and remedy. Addresses are text in hexadecimal.

      EXIT STATUS:
        0    explained
        1    failed: no such process, not permitted, no core, no fault address
             in it; or the output did
        64   wrong usage
      """)

  @Option(help: ArgumentHelp("A process that runs.", valueName: "n"))
  var pid: Int32? = nil

  @Option(
    help: ArgumentHelp("The core of a process that died.", valueName: "file"), transform: RawArguments.path)
  var core: FilePath? = nil

  @Option(
    help: ArgumentHelp("A saved /proc/PID/maps or smaps; - is standard input.", valueName: "file"),
    transform: RawArguments.path)
  var maps: FilePath? = nil

  @Argument(
    help: ArgumentHelp(
      "In hexadecimal, with 0x or without. With --core, the default is the fault's.", valueName: "address"),
    transform: ExplainCommand.parse)
  var address: UInt64? = nil

  @OptionGroup var output: OutputArguments

  func validate() throws {
    guard [pid != nil, core != nil, maps != nil].count(where: { $0 }) == 1 else {
      throw ValidationError("Give one of --pid, --core and --maps.")
    }
    if let pid, pid < 1 { throw ValidationError("--pid takes a number from 1.") }
    if core?.isEmpty == true || maps?.isEmpty == true { throw ValidationError("The file's name is empty.") }
    if address == nil, core == nil { throw ValidationError("Give an ADDRESS.") }
  }

  static func parse(_ text: String) throws -> UInt64 {
    let digits = text.hasPrefix("0x") || text.hasPrefix("0X") ? text.dropFirst(2) : text[...]
    guard !digits.isEmpty, digits.allSatisfy(\.isHexDigit), digits.utf8.count <= 64,
      let address = UInt64(digits, radix: 16)
    else {
      throw ValidationError("'\(PathText.escaped(Array(text.utf8)))' is no address: give up to 16 hexadecimal digits.")
    }
    return address
  }

  func run() throws {
    Standard.reserve()
    var run = PathRun(output)
    run.begin()
    do throws(MappingError) {
      run.report(try explained())
    } catch {
      run.fail(error, path: error.path ?? core ?? maps ?? pid.map { FilePath("/proc/\($0)") } ?? "/proc")
    }
    throw ExitCode(run.end())
  }

  private func explained() throws(MappingError) -> AddressExplanation {
    if let core { return try AddressExplanation(address, inCore: core) }
    let address = address ?? 0
    if let pid { return try AddressExplanation(address, inProcess: pid) }
    guard let maps, maps != PathList.standardInput else {
      return try AddressExplanation(address, inMaps: FileDescriptor.standardInput)
    }
    let file: FileDescriptor
    do {
      file = try FileDescriptor.open(maps, .readOnly, options: [.closeOnExec])
    } catch {
      let errno = error as? Errno ?? .ioError
      throw MappingError(
        errno == .noSuchFileOrDirectory ? .notFound : errno == .permissionDenied ? .permissionDenied : .other,
        operation: .open, errno: errno, path: maps)
    }
    defer { try? file.close() }
    return try AddressExplanation(address, inMaps: file)
  }
}

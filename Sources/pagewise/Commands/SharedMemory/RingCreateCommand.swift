// SPDX-License-Identifier: Apache-2.0

internal import ArgumentParser
internal import SharedMemory
internal import SystemPackage

/// `pagewise ring create`: makes a region with one ring.
struct RingCreateCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "create",
    abstract: "Makes a region with one ring in it, for others to use.",
    discussion: """
      All its memory is there when this ends: /dev/shm without room is an error
      here and not later. Nobody is attached then, so 'pagewise region gc
      --remove' takes it for unused until somebody sends or receives.

      EXAMPLES:
        pagewise ring create jobs
        pagewise ring create jobs --capacity 64M --producers 8
        pagewise ring create jobs --replace-unused
                                                 empties one that nobody uses

      SIZES are bytes, or have a binary unit: 4096, 64K, 1MiB, 2G. The capacity
      is for each producer, and rounded up to a power of two. A message has at
      most half of it, less 8 bytes; each takes 8 bytes more than it has, and
      is filled up to 8.

      JSON:
        As of advise, with one report of "kind" "ring".

      EXIT STATUS:
        0    it is made
        1    there is one of this name, or no memory for it; or the output
             failed
        64   wrong usage, also a name or a size that none can have
      """)

  @Argument(
    help: ArgumentHelp(
      "The region's name: 1 to 200 letters, digits, '-', '_' and '.', not '.' first.", valueName: "name"))
  var name: String

  @Option(
    help: ArgumentHelp("Bytes for the messages of each producer, 64 to 64G.", valueName: "size"),
    transform: {
      guard let size = ByteCount.parse($0), 64...(64 << 30) ~= size else {
        throw ValidationError("--capacity takes a size from 64 to 64G.")
      }
      return Int(size)
    })
  var capacity: Int = 1 << 20

  @Option(help: ArgumentHelp("How many can send at once, 1 to 64.", valueName: "n"))
  var producers: Int = 1

  @Flag(help: "Replace one of this name when nobody is attached to it, with all that waits in it.")
  var replaceUnused = false

  @OptionGroup var place: RuntimeFolderArgument
  @OptionGroup var output: OutputArguments

  func validate() throws {
    guard 1...64 ~= producers else { throw ValidationError("--producers takes a number from 1 to 64.") }
  }

  func run() throws {
    Standard.reserve()
    var run = PathRun(output)
    run.begin()
    do throws(SharedMemoryError) {
      run.report(try create())
    } catch {
      run.fail(explained(error))
    }
    throw ExitCode(run.end())
  }

  private func create() throws(SharedMemoryError) -> RingReport {
    var layout = RegionLayout(.ring(RingArguments.partName, capacity: capacity, producers: producers))
    // All producers, the consumer, and a place for each that is about to take over.
    layout.peerCapacity = 2 * producers + 62
    let runtime = place.runtime
    let region = try SharedRegion(
      creating: layout, named: name, leftover: replaceUnused ? .replaceUnused : .refuse, in: runtime,
      label: "pagewise ring create")
    let status = try region.ringStatus(RingArguments.partName)
    let producer = try region.producer(of: RingArguments.partName)
    return RingReport(
      name: name, path: runtime.path.appending(name + ".region"), identifier: region.identifier,
      size: region.byteCount, capacity: status.capacity, producers: status.lanes.count,
      messageLimit: producer.messageLimit)
  }

  private func explained(_ error: SharedMemoryError) -> SharedMemoryError {
    guard error.code == .alreadyExists, error.note == nil else { return place.located(error) }
    var explained = error
    let path = PathText.shown(place.runtime.path)
    explained.note =
      replaceUnused
      ? "in \(path), and somebody is attached to it"
      : "in \(path); --replace-unused replaces it when nobody is attached"
    return explained
  }
}

/// A ring that was made.
struct RingReport: Report {
  let name: String
  let path: FilePath
  let identifier: RegionIdentifier
  let size: Int
  let capacity: Int
  let producers: Int
  let messageLimit: Int

  func text(_ style: Style) -> String {
    var out = FactLines(name, style)
    out.add("file", PathText.shown(path))
    out.add("size", Figures.exact(Int64(size)))
    out.add(
      "capacity", Figures.exact(Int64(capacity)) + (producers > 1 ? " for each of \(producers) producers" : ""))
    out.add("message", "at most \(Figures.exact(Int64(messageLimit)))")
    return out.lines.joined(separator: "\n") + "\n"
  }

  func write(to json: inout JSONWriter) {
    json.beginObject()
    json.add("kind", "ring")
    json.add("name", name)
    json.addPath(path)
    json.add("identifier", "\(identifier)")
    json.add("part", RingArguments.partName)
    json.add("size_bytes", size)
    json.add("capacity_bytes", capacity)
    json.add("producers", producers)
    json.add("message_limit_bytes", messageLimit)
    json.endObject()
  }
}

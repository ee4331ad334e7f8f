// SPDX-License-Identifier: Apache-2.0

internal import ArgumentParser
internal import SharedMemory
internal import SystemPackage

/// Where regions are found.
struct RuntimeFolderArgument: ParsableArguments {
  @Option(
    help: ArgumentHelp(
      "The folder of the regions. By default $PAGEWISE_RUNTIME_DIR, else $XDG_RUNTIME_DIR/pagewise, else "
        + "/dev/shm/pagewise-UID.", valueName: "path"),
    transform: RawArguments.path)
  var folder: FilePath? = nil

  func validate() throws {
    if folder?.isEmpty == true { throw ValidationError("The path of --folder is empty.") }
  }

  var runtime: RuntimeFolder { folder.map { RuntimeFolder($0) } ?? .standard }

  /// The error with the folder in it, where it does not tell the place itself.
  func located(_ error: SharedMemoryError) -> SharedMemoryError {
    guard error.note == nil, error.code == .notFound || error.code == .alreadyExists else { return error }
    var located = error
    located.note = "in \(PathText.shown(runtime.path))"
    return located
  }
}

/// A ring: the region's name, and the part where it has several.
struct RingArguments: ParsableArguments {
  /// What `ring create` calls the part.
  static let partName = "ring"

  @Argument(help: ArgumentHelp("The region.", valueName: "name"))
  var name: String

  @Option(help: ArgumentHelp("The part that is the ring, where the region has several.", valueName: "part"))
  var part: String? = nil

  @OptionGroup var place: RuntimeFolderArgument

  /// The ring that is meant: the one that was named, or the only one.
  ///
  /// - Throws: ``SharedMemoryError``: `noSuchPart` where it is not clear which.
  func part(of layout: RegionLayout, _ operation: String) throws(SharedMemoryError) -> String {
    if let part { return part }
    let rings = layout.parts.filter { $0.kind == .ring }.map(\.name)
    guard rings.count != 1 else { return rings[0] }
    let names = rings.prefix(8).map { PathText.escaped(Array($0.utf8)) }.joined(separator: ", ")
    throw SharedMemoryError(
      .noSuchPart, operation, region: name,
      note: rings.isEmpty
        ? "it has no ring" : "it has \(rings.count) rings: say which with --part; for instance \(names)")
  }
}

/// How messages are printed.
struct RecordForm: ParsableArguments {
  @Flag(help: "Records with their length before them, instead of lines.")
  var framed = false

  @Flag(help: "JSON: an object on a line for each message.")
  var json = false

  func validate() throws {
    if framed, json { throw ValidationError("Give --framed or --json, not both.") }
  }

  var output: RecordOutput.Form { json ? .json : framed ? .framed : .lines }
}

/// A time to wait, in seconds.
enum Seconds {
  static func parse(_ option: String) -> @Sendable (String) throws -> Double {
    { text in
      guard let seconds = Double(text), 0...1e9 ~= seconds else {
        throw ValidationError("\(option) takes a number of seconds from 0 to 1000000000.")
      }
      return seconds
    }
  }
}

// SPDX-License-Identifier: Apache-2.0

internal import ArgumentParser
internal import PageCache
internal import SystemPackage

/// The paths of a command: as arguments, or in a list.
struct PathArguments: ParsableArguments {
  @Argument(
    help: ArgumentHelp(
      "Files or folders; - reads a list of them, each ended by a NUL, from standard input.", valueName: "path"),
    transform: RawArguments.path)
  var paths: [FilePath] = []

  @Option(
    name: .customLong("files0-from"),
    help: ArgumentHelp(
      "Take the paths, each ended by a NUL, from this file; - is standard input.", valueName: "list"),
    transform: RawArguments.path)
  var listFile: FilePath? = nil

  func validate() throws {
    if paths.isEmpty && listFile == nil { throw ValidationError("Give at least one PATH, or --files0-from.") }
    if !paths.isEmpty && listFile != nil { throw ValidationError("Give PATHs or --files0-from, not both.") }
    if paths.contains(where: \.isEmpty) { throw ValidationError("A PATH is empty.") }
  }

  /// All of them, those of lists in their place.
  func all() throws -> [FilePath] {
    var all: [FilePath] = []
    for path in listFile.map({ [$0] }) ?? paths {
      guard listFile != nil || path == PathList.standardInput else {
        all.append(path)
        continue
      }
      do {
        all += try PathList.read(from: path)
      } catch {
        Standard.error("pagewise: cannot read the list of paths from '\(PathText.shown(path))': \(error).\n")
        throw ExitCode.validationFailure
      }
    }
    return all
  }
}

/// How to go through folders.
struct FolderArguments: ParsableArguments {
  @Flag(help: "In folders, follow symbolic links; loops are found and left out.")
  var follow = false

  @Flag(
    name: [.customShort("x"), .customLong("one-file-system")], help: "In folders, stay on the file system of PATH.")
  var oneFileSystem = false
}

/// Which files of folders are meant.
struct PatternArguments: ParsableArguments {
  @Option(
    name: .shortAndLong,
    help: ArgumentHelp(
      "In folders, only files with this name ('*.idx'), or none with it ('!*.tmp', which also leaves out folders). "
        + "With a / it is compared with the path below PATH. Can be given again.", valueName: "pattern"))
  var glob: [String] = []

  func validate() throws {
    guard glob.allSatisfy({ !$0.isEmpty && $0 != "!" }) else { throw ValidationError("A pattern of -g is empty.") }
  }

  var patterns: FilePatterns { FilePatterns(glob) }
}

/// How to print.
struct OutputArguments: ParsableArguments {
  @Flag(help: "Print JSON.")
  var json = false

  @Flag(help: "No colours and bars. The same as NO_COLOR=1.")
  var plain = false
}

/// Of commands that can take long.
struct ProgressArgument: ParsableArguments {
  @Flag(help: "Show progress on standard error even where that is no terminal.")
  var progress = false
}

// SPDX-License-Identifier: Apache-2.0

internal import ArgumentParser
internal import MemoryMapping
internal import PageCache
internal import SharedMemory
internal import SystemPackage

/// One run over a list of paths: a report or an error for each, and the exit status.
struct PathRun {
  private let output: ReportOutput
  private let forcesProgress: Bool
  private var failed = false
  private var isMisused = false

  init(_ arguments: OutputArguments, forcesProgress: Bool = false) {
    self.init(.reports(arguments), forcesProgress: forcesProgress)
  }

  private init(_ form: Form, forcesProgress: Bool) {
    switch form {
    case .reports(let arguments):
      output = arguments.json ? .json(JSONReports()) : .text(Style(isPlain: arguments.plain))
    case .errorsOnly: output = .errorsOnly
    }
    self.forcesProgress = forcesProgress
  }

  /// What is printed by the run itself.
  enum Form {
    /// Reports and errors.
    case reports(OutputArguments)
    /// Errors; the command prints the rest.
    case errorsOnly
  }

  /// Runs `one` for each path until an interruption.
  ///
  /// - Parameters:
  ///   - arguments: the paths. A list is awaited before interruptions are watched, so that one ends the program then.
  ///   - output: how to print.
  ///   - progress: whether to show it even where standard error is no terminal.
  ///   - one: makes the reports of a path.
  /// - Throws: the exit status.
  static func run(
    _ arguments: PathArguments, _ output: OutputArguments, progress: Bool = false,
    one: (inout PathRun, FilePath, Progress) throws(MappingError) -> Void
  ) throws {
    Standard.reserve()
    let list = try arguments.all()
    Interruption.watch()
    throw ExitCode(round(list, .reports(output), progress: progress, one: one))
  }

  /// Runs `one` for each path once, and `ending` at the end, also after an interruption.
  ///
  /// - Returns: the exit status.
  static func round(
    _ paths: [FilePath], _ form: Form, progress: Bool,
    interrupted: String = "interrupted; what was found until then is above.",
    one: (inout PathRun, FilePath, Progress) throws(MappingError) -> Void, ending: (inout PathRun) -> Void = { _ in }
  ) -> Int32 {
    var run = PathRun(form, forcesProgress: progress)
    return run.all(paths, interrupted, one, ending)
  }

  private mutating func all(
    _ paths: [FilePath], _ interrupted: String, _ one: (inout PathRun, FilePath, Progress) throws(MappingError) -> Void,
    _ ending: (inout PathRun) -> Void
  ) -> Int32 {
    output.begin()
    for path in paths {
      if Interruption.isRequested || Standard.outputFailure != nil { break }
      let progress = Progress(name: PathText.shown(path), isForced: forcesProgress)
      defer { progress.end() }
      do throws(MappingError) {
        try one(&self, path, progress)
      } catch {
        progress.end()
        fail(error, path: path)
      }
    }
    ending(&self)
    return end(interrupted: interrupted)
  }

  func begin() { output.begin() }

  mutating func fail(_ error: MappingError, path: FilePath) {
    failed = true
    // Told once, at the end.
    if error.code == .interrupted, Interruption.isRequested { return }
    output.failure(error, path: path)
  }

  /// A name or a size that no region can have is wrong usage.
  mutating func fail(_ error: SharedMemoryError) {
    failed = true
    if error.code == .invalidArgument { isMisused = true }
    output.failure(error)
  }

  func report(_ report: some Report, after progress: Progress? = nil) {
    progress?.end()
    output.report(report)
  }

  /// The failures below a folder: their sentences, as far as they were kept.
  mutating func fail(_ walk: WalkCounts, path: FilePath) {
    for failure in walk.firstFailures { output.failure(failure, path: failure.path ?? path) }
    if walk.failures > 0 { failed = true }
  }

  /// The exit status.
  func end(interrupted sentence: String = "interrupted; what was found until then is above.") -> Int32 {
    output.end(interrupted: Interruption.isRequested ? sentence : nil)
    if let reason = Standard.outputFailure {
      // A reader that went away has what it wanted.
      if reason != .brokenPipe { Standard.error("pagewise: cannot write to standard output: \(reason).\n") }
      return 1
    }
    return Interruption.isRequested ? 130 : isMisused ? 64 : failed ? 1 : 0
  }
}

// SPDX-License-Identifier: Apache-2.0

internal import MemoryMapping
internal import SharedMemory
internal import SystemPackage

/// What a command found out, for people and for programs.
protocol Report {
  /// Lines, the last one ended.
  func text(_ style: Style) -> String
  /// One object.
  func write(to json: inout JSONWriter)
}

/// Where reports go: tables as they come, or one JSON object.
enum ReportOutput {
  case text(Style)
  case json(JSONReports)
  /// Errors on standard error; the command prints the rest itself.
  case errorsOnly

  func begin() {
    if case .json(let reports) = self { reports.begin() }
  }

  func report(_ report: some Report) {
    switch self {
    case .text(let style): Standard.output(report.text(style))
    case .json(let reports): reports.add(report)
    case .errorsOnly: break
    }
  }

  /// Errors go to standard error, and into the JSON as well.
  func failure(_ error: MappingError, path: FilePath) {
    if case .json(let reports) = self {
      reports.add(error, path: path)
      // Sentences between the lines would be no JSON.
      if reports.stream == .standardError { return }
    }
    Standard.error("pagewise: \(Self.sentence(error, path: path))\n")
  }

  /// The same about a region, whose errors name it themselves.
  func failure(_ error: SharedMemoryError) {
    if case .json(let reports) = self { reports.add(error) }
    Standard.error("pagewise: \(error)\n")
  }

  /// - Parameter sentence: what to say about an interruption; nil when there was none.
  func end(interrupted sentence: String?) {
    switch self {
    case .text, .errorsOnly: if let sentence { Standard.error("pagewise: \(sentence)\n") }
    case .json(let reports): reports.end(wasInterrupted: sentence != nil)
    }
  }

  /// The error's own sentence, with the path on one line whatever its bytes are.
  static func sentence(_ error: MappingError, path: FilePath) -> String {
    var error = error
    error.path = nil
    // `append to`: the path that would follow stands in front.
    let name = error.operation.name
    if ["to", "of", "for", "on", "in", "into", "over"].contains(where: { name.hasSuffix(" \($0)") }) {
      error.operation = .init(name + " it")
    }
    return "\(PathText.shown(path)): \(error)"
  }
}

// SPDX-License-Identifier: Apache-2.0

internal import AccessAdvisor
internal import MemoryMapping
internal import SystemPackage

/// Where reports go: tables as they come, or one JSON object.
enum ReportOutput {
  case text(Style)
  case json(JSONReports)

  func begin() {
    if case .json(let reports) = self { reports.begin() }
  }

  func report(_ report: FileReport) {
    switch self {
    case .text(let style): Standard.output(FileTable(report, style).text)
    case .json(let reports): reports.add(report)
    }
  }

  func report(_ report: TreeReport) {
    switch self {
    case .text(let style): Standard.output(TreeTable(report, style).text)
    case .json(let reports): reports.add(report)
    }
  }

  /// Errors go to standard error, and into the JSON as well.
  func failure(_ error: MappingError, path: FilePath) {
    Standard.error("pagewise: \(Self.sentence(error, path: path))\n")
    if case .json(let reports) = self { reports.add(error, path: path) }
  }

  func end(wasInterrupted: Bool) {
    switch self {
    case .text: if wasInterrupted { Standard.error("pagewise: interrupted; what was found until then is above.\n") }
    case .json(let reports): reports.end(wasInterrupted: wasInterrupted)
    }
  }

  /// The error's own sentence, with the path on one line whatever its bytes are.
  static func sentence(_ error: MappingError, path: FilePath) -> String {
    var error = error
    error.path = nil
    return "\(PathText.shown(path)): \(error)"
  }
}

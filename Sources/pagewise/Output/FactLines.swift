// SPDX-License-Identifier: Apache-2.0

internal import PageCache

/// The lines of a report: a title, then a name and a value each.
struct FactLines {
  private let style: Style
  private(set) var lines: [String]

  init(_ title: String, _ style: Style) {
    self.style = style
    lines = [style.bold(title)]
  }

  mutating func add(_ name: String, _ value: String, isWarning: Bool = false) {
    let wrapped = style.text(value).wrapped(width: style.width - 14, indent: 14)
    lines.append("  " + style.dim(name.padded(to: 12)) + (isWarning ? style.yellow(wrapped) : wrapped))
  }

  mutating func add(raw line: String) { lines.append(line) }
  mutating func add(raw more: [String]) { lines += more }

  /// What was met on the way through a folder.
  mutating func add(_ walk: WalkCounts) {
    if let left = walk.leftOut { add("left out", left) }
    if let failed = walk.failed { add("failed", failed, isWarning: true) }
  }

  var text: String { lines.joined(separator: "\n") + "\n\n" }
}

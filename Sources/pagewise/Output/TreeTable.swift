// SPDX-License-Identifier: Apache-2.0

internal import AccessAdvisor
internal import MemoryMapping
internal import PageCache

/// A folder's report as text.
struct TreeTable {
  private let report: TreeReport
  private let style: Style

  init(_ report: TreeReport, _ style: Style) {
    self.report = report
    self.style = style
  }

  var text: String {
    var lines = [style.bold(PathText.shown(report.path))]
    lines += header.map { "  " + $0 }
    if !report.classes.isEmpty {
      lines.append("")
      lines += table
    }
    if let total = report.total {
      lines.append("")
      lines += totals(total)
    }
    if report.isInterrupted {
      lines.append("")
      lines.append("  " + style.yellow("Interrupted: counts and times are of a part."))
    }
    lines.append("")
    lines.append("  " + style.bold(style.text(report.advice).wrapped(width: style.width - 2, indent: 2)))
    return lines.joined(separator: "\n") + "\n\n"
  }

  private var header: [String] {
    let walk = report.walk
    var lines: [String] = []
    func add(_ name: String, _ value: String) { lines.append(style.dim(name.padded(to: 12)) + value) }
    add(
      "folder",
      "\(Figures.count(walk.files, "file", "files")), \(Figures.bytes(walk.bytes)), "
        + Figures.count(walk.folders, "folder", "folders"))
    if let left = walk.leftOut { add("left out", left.wrapped(width: style.width - 14, indent: 14)) }
    if let failed = walk.failed { add("failed", style.yellow(failed)) }
    if report.total != nil { add("measured", measured.wrapped(width: style.width - 14, indent: 14)) }
    return lines
  }

  private var measured: String {
    var text =
      report.isCold
      ? "a sample of each size, evicted before each timing" : "a sample of each size, warm, read once before"
    if let eviction = report.eviction {
      switch eviction.pagesThatStayed {
      case 0?: text += " (checked: no page stayed)"
      case let stayed?: text += " (up to \(Figures.grouped(stayed)) pages of a file stayed)"
      case nil: text += " (not permitted to check)"
      }
    }
    return text + "; each file opened, read once, closed; \(Figures.decimals(report.seconds, 1)) s"
  }

  // MARK: Size classes

  private var table: [String] {
    let shownColumns = style.isNarrow ? 4 : 6
    let columns = ["files", "bytes", "map", "read", "in mem", "holes"].prefix(shownColumns)
    let widths = [10, 10, 9, 9, 9, 10].prefix(shownColumns)
    var head = "  " + "size up to".padded(to: 11)
    for (name, width) in zip(columns, widths) { head += name.aligned(to: width) }
    head += "  " + "best".aligned(to: 10) + "regret".aligned(to: 9)
    var lines = [style.dim(head)]
    for found in report.classes {
      let name = found.upperBound.map { $0 == 0 ? "empty" : Figures.bound($0) } ?? "larger"
      let values = [
        Figures.grouped(found.files), Figures.bytes(found.bytes), shown(found.wouldMap), shown(found.wouldRead),
        found.residentFraction.map(Figures.percent) ?? style.none,
        found.sparseFiles == 0 ? style.none : Figures.bytes(found.holeBytes),
      ].prefix(shownColumns)
      var line = "  " + name.padded(to: 11)
      for (value, width) in zip(values, widths) { line += value.aligned(to: width) }
      if let result = found.sample?.result, let best = result.best, let regret = result.regret {
        line += "  " + style.green("\(style.mark) \(best.strategy.label)".aligned(to: 10))
        line += (Figures.decimals(regret, 2) + style.times).aligned(to: 9)
      } else {
        line += "  " + style.none.aligned(to: 10) + style.none.aligned(to: 9)
      }
      lines.append(line)
    }
    return lines
  }

  private func shown(_ count: Int) -> String { count == 0 ? style.none : Figures.grouped(count) }

  // MARK: All of it

  private func totals(_ total: TreeReport.Total) -> [String] {
    let rows: [(String, Double)] = [
      ("always map", total.alwaysMap), ("always map and load", total.alwaysMapPopulate),
      ("always read whole", total.alwaysRead), ("always stream", total.alwaysStream),
      ("FileBytes chooses", total.chosen),
    ]
    let longest = rows.map(\.1).max() ?? 1
    let best = rows.map(\.1).min() ?? 0
    var lines = [style.dim("  " + "all files, extrapolated".padded(to: 26) + "time".aligned(to: 10))]
    for (name, seconds) in rows {
      let mark = seconds == best ? style.mark : " "
      let time = Figures.nanoseconds(seconds * 1e9, style).aligned(to: 8)
      let line = "  \(name.padded(to: 26))\(mark) \(time)"
      let bar = style.bar(seconds / max(longest, 1e-12), width: 30)
      lines.append((seconds == best ? style.green(line) : line) + (bar.isEmpty ? "" : "  " + bar))
    }
    return lines
  }
}

extension Figures {
  /// A class's limit without decimals: `4 KiB`, `16 MiB`.
  static func bound(_ bytes: Int64) -> String {
    bytes >= 1 << 20 ? "\(bytes >> 20) MiB" : "\(bytes >> 10) KiB"
  }
}

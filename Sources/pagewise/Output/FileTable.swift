// SPDX-License-Identifier: Apache-2.0

internal import AccessAdvisor
internal import MemoryMapping

/// A file's report as text: what it is, the table, what to mind, and the advice. At most 100 columns, on narrow terminals 80.
struct FileTable {
  private let report: FileReport
  private let style: Style

  init(_ report: FileReport, _ style: Style) {
    self.report = report
    self.style = style
  }

  var text: String {
    var lines = [style.bold(PathText.shown(report.path))]
    lines += header.map { "  " + $0 }
    if !report.results.isEmpty {
      lines.append("")
      lines += table
      lines += notes
    }
    if report.measuring.isInterrupted {
      lines.append("")
      lines.append("  " + style.yellow("Interrupted: rows are missing."))
    }
    lines.append("")
    let advice = style.text(report.advice).wrapped(width: style.width - 2, indent: 2)
    lines.append("  " + style.bold(advice))
    return lines.joined(separator: "\n") + "\n\n"
  }

  // MARK: What it is

  private var header: [String] {
    let file = report.file
    var lines: [String] = []
    func add(_ name: String, _ value: String) {
      let text = style.text(value).wrapped(width: style.width - 14, indent: 14)
      lines.append(style.dim(name.padded(to: 12)) + text)
    }
    let exact = file.facts.size >= 1024 ? " (\(Figures.grouped(file.facts.size)) bytes)" : ""
    let place = file.facts.fileSystem.map { " on \($0.name)" } ?? ""
    if file.hazards.contains(where: { $0.code == .synthetic }) {
      add("file", "no true size (claims \(Figures.bytes(file.facts.size))), made when it is read,\(place)")
    } else {
      add("file", "\(Figures.bytes(file.facts.size))\(exact), regular file\(place)")
      if file.pages > 0 { add("in memory", residency) }
      add("writers", writers)
    }
    if file.hazards.contains(where: { $0.code == .synthetic }) {
      // Holes and writers are no question there.
    } else if let holes = file.holes, holes.count > 0 {
      let least = holes.isComplete ? "" : "at least "
      add(
        "holes", "\(least)\(Figures.count(holes.count, "hole", "holes")), \(Figures.bytes(holes.bytes)) without storage"
      )
    } else if file.pages > 0 {
      add("holes", file.holes == nil ? "unknown" : "none")
    }
    // That only a part was measured stands below the table.
    let hazards = file.hazards.filter { $0.code != .sampled }
    if hazards.isEmpty {
      add("hazards", "none found")
    } else {
      for (index, hazard) in hazards.enumerated() {
        let text = style.text(hazard.sentence).wrapped(width: style.width - 14, indent: 14)
        lines.append(style.dim((index == 0 ? "hazards" : "").padded(to: 12)) + style.yellow(text))
      }
    }
    if !report.results.isEmpty { add("measured", measured) }
    return lines
  }

  private var residency: String {
    let file = report.file
    guard let share = file.residentFraction, let resident = file.residentPages else { return "not permitted to know" }
    let bar = style.bar(share)
    var text = (bar.isEmpty ? "" : bar + " ") + Figures.percent(share)
    text +=
      " (\(file.isResidencyExact ? "" : "about ")\(Figures.grouped(resident)) of \(Figures.grouped(file.pages)) pages of "
    text += "\(Figures.bound(Int64(file.pageSize))))"
    if let pages = file.facts.pagesPerFault { text += ", one fault maps \(Figures.count(pages, "page", "pages"))" }
    return text
  }

  private var writers: String {
    switch report.file.writers {
    case .none: "none"
    case .unknown: "unknown (not this user's file, or no way to ask on this file system)"
    case .present(let process?, let name):
      "process \(process)" + (name.map { " (\(PathText.escaped(Array($0.utf8))))" } ?? "")
    case .present: "somebody, whom this user may not see"
    }
  }

  private var measured: String {
    let measuring = report.measuring
    var text = measuring.isCold ? "cold, evicted before each timing" : "warm, read once before"
    if let eviction = measuring.eviction {
      switch eviction.pagesThatStayed {
      case 0?: text += " (checked: no page stayed)"
      case let stayed?: text += " (up to \(Figures.grouped(stayed)) pages stayed)"
      case nil: text += " (not permitted to check)"
      }
    }
    let rounds = report.results.flatMap { $0.cells.map(\.rounds) }
    if let least = rounds.min(), let most = rounds.max() {
      text += "; medians of \(least == most ? "\(least)" : "\(least) to \(most)") rounds in random order"
    }
    text += measuring.isVerified ? "; all saw the same bytes" : "; bytes not compared, they change"
    return text + "; \(Figures.decimals(measuring.seconds, 1)) s"
  }

  // MARK: The table

  private static let nameWidth = 21
  private static let cellWidth = 11

  /// One column of a strategy is 11 wide, with the block for its slowness 12. On narrow terminals both shrink by two, and
  /// the time of the library's choice is left out: it is the best time times the regret.
  private var cellWidth: Int { style.isNarrow ? Self.cellWidth - 1 : Self.cellWidth }
  private var chosenWidth: Int { style.isNarrow ? 9 : 18 }
  private var hasBlocks: Bool { !style.isNarrow && !style.block(1).isEmpty }

  private var table: [String] {
    let strategies = FileBytes.Strategy.allCases
    var head = "  " + "access".padded(to: Self.nameWidth)
    for strategy in strategies { head += strategy.label.aligned(to: cellWidth) + (hasBlocks ? " " : "") }
    head += "  " + (style.isNarrow ? "chosen" : "FileBytes chose").padded(to: chosenWidth) + "regret"
    var lines = [style.dim(head)]
    for row in report.results { lines.append(line(row, strategies)) }
    return lines
  }

  private func line(_ row: AccessResult, _ strategies: [FileBytes.Strategy]) -> String {
    var line = "  " + title(row.access).padded(to: Self.nameWidth)
    let best = row.best
    for strategy in strategies {
      guard let cell = row.cell(strategy) else {
        line += style.dim(style.none.aligned(to: cellWidth)) + (hasBlocks ? " " : "")
        continue
      }
      let isBest = best?.strategy == strategy
      let time = (cell.isExtrapolated ? "~" : "") + Figures.nanoseconds(Double(cell.medianNanoseconds), style)
      let shown = ((isBest ? style.mark : "") + time).aligned(to: cellWidth)
      line += isBest ? style.bold(style.green(shown)) : shown
      let factor = Double(cell.medianNanoseconds) / Double(max(1, best?.medianNanoseconds ?? 1))
      if hasBlocks { line += style.dim(style.block(factor)) }
    }
    guard let chosen = row.chosen, let regret = row.regret else { return line }
    var choice = chosen.strategy.label.padded(to: 9)
    if !style.isNarrow {
      let time = (chosen.isExtrapolated ? "~" : "") + Figures.nanoseconds(Double(chosen.medianNanoseconds), style)
      choice += chosen.isMeasured ? time : "not run"
    }
    let shown = (Figures.decimals(regret, 2) + style.times).aligned(to: 6)
    return line + "  " + choice.padded(to: chosenWidth) + (regret > 1.25 ? style.yellow(shown) : shown)
  }

  private func title(_ access: Access) -> String {
    let title = access.title
    guard style.isUnicode else { return title }
    return title.split(separator: " ").map { $0 == "x" ? "×" : String($0) }.joined(separator: " ")
  }

  // MARK: Below the table

  private var notes: [String] {
    var notes: [String] = []
    if report.measuring.windowBytes < report.file.facts.size, report.measuring.isVerified {
      let places = report.measuring.isCold ? "" : "; random places lie there, too"
      notes.append("~ measured on the first \(Figures.bytes(report.measuring.windowBytes)) and extrapolated\(places).")
    }
    if report.results.contains(where: { $0.chosen?.isMeasured == false }) {
      notes.append("not run: it would use all of the file; regret is that of the strategy it chose.")
    }
    return notes.map { "  " + style.dim($0.wrapped(width: style.width - 2, indent: 2)) }
  }
}

// SPDX-License-Identifier: Apache-2.0

internal import MemoryMapping
internal import PageCache
internal import SystemPackage

/// What came of streaming one path.
struct StreamResult: Report {
  let path: FilePath
  let report: StreamReport
  let sum: UInt32?
  let showsStatistics: Bool

  /// Eight digits, two spaces, the path: as `sha256sum` has it.
  var sumLine: String { "\(digits)  \(PathText.shown(path))\n" }

  private var digits: String {
    let text = String(sum ?? 0, radix: 16)
    return String(repeating: "0", count: 8 - text.count) + text
  }

  func text(_ style: Style) -> String {
    var out = FactLines(PathText.shown(path), style)
    let speed = report.seconds > 0 ? ", \(Figures.bytes(Int64(Double(report.bytes) / report.seconds)))/s" : ""
    out.add("streamed", "\(Figures.exact(report.bytes)) in \(Figures.nanoseconds(report.seconds * 1e9, style))\(speed)")
    out.add("method", "\(report.method.name): \(report.reason)")
    for figures in report.methods {
      let place = figures.isCached ? ", in memory" : ""
      if let rate = figures.rate {
        out.add(
          "  " + figures.method.name,
          "\(Figures.bytes(Int64(rate)))/s, \(Figures.count(figures.windows, "window", "windows"))\(place)")
      }
      if let refusal = figures.refusal { out.add("  " + figures.method.name, style.yellow("refused: \(refusal)")) }
    }
    out.add(
      "windows",
      "\(Figures.grouped(report.windows)) of \(Figures.bytes(Int64(report.windowSize))), "
        + "\(Figures.bytes(Int64(report.chunkSize))) at a time" + (report.isMemoryScarce ? "; memory is scarce" : ""))
    let left = report.pagesLeft > 0 ? ", \(Figures.grouped(report.pagesLeft)) could not be dropped" : ""
    out.add(
      "pages",
      report.isResidencyKnown
        ? "\(Figures.grouped(report.pagesDropped)) dropped, \(Figures.grouped(report.pagesKept)) kept\(left)"
        : "not permitted to know; none dropped")
    if report.refusedAdvice > 0 {
      out.add("refused", Figures.count(report.refusedAdvice, "advice", "pieces of advice"))
    }
    if report.ending != .end { out.add("ended", "before the end", isWarning: true) }
    return out.lines.joined(separator: "\n") + "\n"
  }

  func write(to json: inout JSONWriter) {
    json.beginObject()
    json.add("kind", "stream")
    json.addPath(path)
    if sum != nil { json.add("crc32c", digits) }
    json.add("bytes", report.bytes)
    json.add("seconds", report.seconds)
    json.add("method", report.method.name)
    json.add("reason", report.reason)
    json.beginArray("methods")
    for figures in report.methods {
      json.beginObject()
      json.add("method", figures.method.name)
      json.add("in_memory", figures.isCached)
      json.add("bytes", figures.bytes)
      json.add("windows", figures.windows)
      json.add("bytes_per_second", figures.rate)
      json.add("refused_errno", figures.refusal.map { Int64($0.rawValue) })
      json.endObject()
    }
    json.endArray()
    json.add("windows", report.windows)
    json.add("window_bytes", report.windowSize)
    json.add("chunk_bytes", report.chunkSize)
    json.add("memory_is_scarce", report.isMemoryScarce)
    json.add("residency_known", report.isResidencyKnown)
    json.add("dropped_pages", report.isResidencyKnown ? Int64(report.pagesDropped) : nil)
    json.add("kept_pages", report.isResidencyKnown ? Int64(report.pagesKept) : nil)
    json.add("left_pages", report.isResidencyKnown ? Int64(report.pagesLeft) : nil)
    json.add("refused_advice", report.refusedAdvice)
    json.add("complete", report.ending == .end)
    json.endObject()
  }
}

extension StreamedFile.Method {
  var name: String { rawValue.lowercased() }
}

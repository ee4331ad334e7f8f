// SPDX-License-Identifier: Apache-2.0

internal import MemoryMapping
internal import PageCache
internal import SystemPackage

/// A report of the page cache, with what the command adds to it.
struct ResidencyShown {
  let report: ResidencyReport
  /// Resident bytes at the look before.
  var before: Int64? = nil
  /// Of each named file, by its place.
  var ranges: [ResidentRanges?] = []

  init(_ report: ResidencyReport) { self.report = report }

  /// Nil where nothing is known.
  var residentBytes: Int64? {
    report.pages.isComplete || report.pages.knownFiles > 0 ? report.pages.resident * Int64(SystemPage.size) : nil
  }

  /// Ranges of one file that are listed.
  static let rangeLimit = 1 << 20

  /// Asks for the ranges of the named files.
  mutating func findRanges(_ fail: (MappingError, FilePath) -> Void) {
    ranges = report.files.map { file in
      guard file.pages.knownFiles > 0 else { return nil }
      do throws(MappingError) {
        return try ResidentRanges(of: file.path, limit: Self.rangeLimit)
      } catch {
        fail(error, file.path)
        return nil
      }
    }
  }
}

/// What is known of cached pages, in words.
struct CacheWords {
  let pages: CachedPages

  /// For instance `1.00 MiB (1,048,576 bytes)`; what the kernel does not tell is never a number.
  func exact(_ count: Int64) -> String {
    if let word { return word }
    return lowerBound + Figures.exact(bytes(count))
  }

  func short(_ count: Int64) -> String {
    if let word { return word == "not permitted to know" ? "not permitted" : word }
    return Figures.bytes(bytes(count))
  }

  func bytes(_ count: Int64) -> Int64 { count.multipliedReportingOverflow(by: Int64(SystemPage.size)).partialValue }

  /// Instead of numbers, where no file is known.
  var word: String? {
    guard pages.knownFiles == 0, !pages.isComplete else { return nil }
    return pages.hiddenFiles > 0 ? "not permitted to know" : "not known"
  }

  private var lowerBound: String { pages.isComplete ? "" : "at least " }

  /// Files that are not in the sums, where there are some that are.
  var leftOut: String? {
    guard !pages.isComplete, pages.knownFiles > 0 || pages.hiddenFiles + pages.unknownFiles > 1 else { return nil }
    var parts: [String] = []
    if pages.hiddenFiles > 0 {
      parts.append("\(Figures.count(pages.hiddenFiles, "file", "files")): not permitted to know")
    }
    if pages.unknownFiles > 0 { parts.append("\(Figures.count(pages.unknownFiles, "file", "files")): not known") }
    return parts.joined(separator: ", ")
  }

  var resident: String {
    if word != nil { return exact(pages.resident) }
    let known = pages.isComplete ? "" : " that are known"
    let share = pages.share.map { ", \(Figures.percent($0)) of \(Figures.bytes(bytes(pages.pages)))\(known)" } ?? ""
    return exact(pages.resident) + share
  }

  var evicted: String {
    guard word == nil, pages.hasDetails else { return word ?? "not known" }
    let recent = pages.recentlyEvicted > 0 ? ", \(Figures.exact(bytes(pages.recentlyEvicted))) of it recently" : ""
    return exact(pages.evicted) + recent
  }
}

extension ResidencyShown: Report {
  func text(_ style: Style) -> String { ResidencyTable(self, style).text }
  func write(to json: inout JSONWriter) { json.add(self) }
}

/// One report as a table.
struct ResidencyTable {
  /// Parts of the bar of ranges.
  static let parts = 64

  private let shown: ResidencyShown
  private let style: Style
  private var out: FactLines

  init(_ shown: ResidencyShown, _ style: Style) {
    self.shown = shown
    self.style = style
    out = FactLines(PathText.shown(shown.report.path), style)
    if shown.report.walk == nil { file() } else { folder() }
  }

  var text: String { out.text }

  private var place: String { shown.report.fileSystem.map { " on \($0.name)" } ?? "" }

  private mutating func counts(_ pages: CachedPages) {
    let words = CacheWords(pages: pages)
    let change = shown.change
    out.add("resident", words.resident + (change.map { "; \($0)" } ?? ""))
    guard words.word == nil else { return }
    if pages.hasDetails {
      out.add("dirty", words.exact(pages.dirty))
      out.add("write-back", words.exact(pages.inWriteBack))
    } else {
      out.add("dirty", "not known")
    }
    out.add("evicted", words.evicted)
    if let left = words.leftOut { out.add("left out", left, isWarning: true) }
  }

  private mutating func file() {
    let report = shown.report
    guard let file = report.files.first else { return }
    let holes = file.allocated < file.size ? ", \(Figures.bytes(file.allocated)) of it stored" : ""
    out.add("file", "\(Figures.exact(file.size))\(place)\(holes)")
    if report.pages != file.pages { out.add("counted", "under an earlier path") }
    counts(file.pages)
    if let pages = file.pagesPerFault { out.add("per fault", Figures.count(pages, "page", "pages")) }
    if !file.shares.isEmpty { out.add("ranges", "[\(style.map(file.shares))]") }
    list(at: 0)
  }

  private mutating func folder() {
    let report = shown.report
    guard let walk = report.walk else { return }
    out.add(
      "folder",
      "\(Figures.count(walk.files, "file", "files")), \(Figures.bytes(report.size)), "
        + "\(Figures.count(walk.folders, "folder", "folders"))\(place)")
    out.add(walk)
    if report.isInterrupted { out.add("interrupted", "the rest is not in it", isWarning: true) }
    counts(report.pages)
    guard !report.files.isEmpty else { return }
    out.add(raw: "")
    out.add(
      raw: style.dim(
        "  " + "resident".aligned(to: 13) + "share".aligned(to: 8) + "dirty".aligned(to: 9) + "evicted".aligned(to: 9)
          + "size".aligned(to: 9) + "  " + "ranges".padded(to: 16) + "  file"))
    for (index, file) in report.files.enumerated() {
      let words = CacheWords(pages: file.pages)
      let isKnown = words.word == nil
      let hasDetails = isKnown && file.pages.hasDetails
      out.add(
        raw: "  " + words.short(file.pages.resident).aligned(to: 13)
          + (file.pages.share.map { Figures.percent($0) } ?? "-").aligned(to: 8)
          + (hasDetails ? words.short(file.pages.dirty) : "-").aligned(to: 9)
          + (hasDetails ? words.short(file.pages.evicted) : "-").aligned(to: 9)
          + Figures.bytes(file.size).aligned(to: 9) + "  "
          + style.map(ResidencyColumn.merged(file.shares, into: 16)).padded(to: 16) + "  " + PathText.shown(file.path))
      list(at: index)
    }
    if walk.files > report.files.count {
      out.add(raw: "  and \(Figures.grouped(walk.files - report.files.count)) more; see --top")
    }
  }

  private mutating func list(at index: Int) {
    guard index < shown.ranges.count, let found = shown.ranges[index] else { return }
    for range in found.ranges {
      out.add(
        raw: "    " + Figures.grouped(range.lowerBound).aligned(to: 18) + " ..< "
          + Figures.grouped(range.upperBound).padded(to: 18) + Figures.bytes(range.upperBound - range.lowerBound))
    }
    if found.isTruncated { out.add(raw: "    and more") }
  }
}

extension ResidencyShown {
  /// Against the look before; nil for the first one.
  fileprivate var change: String? {
    guard let before, let now = residentBytes else { return nil }
    if now == before { return "unchanged" }
    return (now > before ? "+" : "-") + Figures.bytes(abs(now - before)) + " since the look before"
  }
}

extension Style {
  /// A character for each part: how much of it is resident.
  func map(_ shares: [Double]) -> String {
    let levels: [Character] =
      isUnicode ? [" ", "▁", "▂", "▃", "▄", "▅", "▆", "▇", "█"] : [".", "-", "-", "o", "o", "o", "O", "O", "#"]
    return String(
      shares.map { share in
        // The ends are for exactly none and exactly all.
        share <= 0 ? levels[0] : share >= 1 ? levels[8] : levels[1 + min(6, Int(share * 7))]
      })
  }
}

extension ResidencySum: Report {
  func text(_ style: Style) -> String {
    let words = CacheWords(pages: pages)
    var out = FactLines("total of \(Figures.count(paths, "path", "paths"))", style)
    out.add("files", "\(Figures.count(files, "file", "files")), \(Figures.bytes(size))")
    out.add("resident", words.resident)
    if words.word == nil {
      if pages.hasDetails { out.add("dirty", words.exact(pages.dirty)) }
      out.add("evicted", words.evicted)
    }
    if let left = words.leftOut { out.add("left out", left, isWarning: true) }
    return out.text
  }

  func write(to json: inout JSONWriter) {
    json.beginObject()
    json.add("kind", "total")
    json.add("paths", paths)
    json.add("files", files)
    json.add("size_bytes", size)
    json.add("cache", pages)
    json.endObject()
  }
}

extension JSONWriter {
  mutating func add(_ key: String, _ pages: CachedPages) {
    let isKnown = pages.knownFiles > 0 || pages.isComplete
    let page = Int64(SystemPage.size)
    func known(_ count: Int64, _ isTold: Bool) -> Int64? { isKnown && isTold ? count : nil }
    beginObject(key)
    add("page_size_bytes", page)
    for (name, count, isTold) in [
      ("total", pages.pages, true), ("resident", pages.resident, true), ("dirty", pages.dirty, pages.hasDetails),
      ("write_back", pages.inWriteBack, pages.hasDetails), ("evicted", pages.evicted, pages.hasDetails),
      ("recently_evicted", pages.recentlyEvicted, pages.hasDetails),
    ] {
      add("\(name)_pages", known(count, isTold))
      if name != "total" { add("\(name)_bytes", known(CacheWords(pages: pages).bytes(count), isTold)) }
    }
    add("resident_share", isKnown ? pages.share : nil)
    add("complete", pages.isComplete)
    add("known_files", pages.knownFiles)
    add("not_permitted_files", pages.hiddenFiles)
    add("not_known_files", pages.unknownFiles)
    endObject()
  }

  fileprivate mutating func add(_ shown: ResidencyShown) {
    let report = shown.report
    beginObject()
    add("kind", report.walk == nil ? "file" : "folder")
    addPath(report.path)
    add("file_system", report.fileSystem?.name)
    add("size_bytes", report.size)
    if let walk = report.walk { add(walk) }
    add("cache", report.pages)
    add("resident_files", report.residentFiles)
    beginArray("files")
    for (index, file) in report.files.enumerated() {
      beginObject()
      addPath(file.path)
      add("size_bytes", file.size)
      add("allocated_bytes", file.allocated)
      add("links", file.links)
      add("cache", file.pages)
      add("pages_per_fault", file.pagesPerFault.map { Int64($0) })
      beginArray("resident_shares")
      for share in file.shares { add(nil, share) }
      endArray()
      if index < shown.ranges.count, let found = shown.ranges[index] {
        beginArray("resident_ranges_bytes")
        for range in found.ranges {
          beginArray()
          add(nil, range.lowerBound)
          add(nil, range.upperBound)
          endArray()
        }
        endArray()
        add("resident_ranges_truncated", found.isTruncated)
      }
      endObject()
    }
    endArray()
    add("interrupted", report.isInterrupted)
    endObject()
  }
}

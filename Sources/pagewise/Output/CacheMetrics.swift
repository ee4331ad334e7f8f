// SPDX-License-Identifier: Apache-2.0

internal import PageCache
internal import SystemPackage

/// What the page cache holds, as OpenMetrics text. Families are whole, as the format wants it; no times, which the textfile
/// collector of node-exporter refuses.
struct CacheMetrics {
  private var reports: [ResidencyReport] = []
  private var failed: [FilePath] = []

  mutating func add(_ report: ResidencyReport) { reports.append(report) }
  mutating func fail(_ path: FilePath) { failed.append(path) }

  var text: String {
    var out = ""
    func family(_ name: String, _ unit: String?, _ help: String, _ samples: [(labels: String, value: Int64)]) {
      guard !samples.isEmpty else { return }
      let name = "pagewise_file_cache_" + name
      out += "# TYPE \(name) gauge\n"
      if let unit { out += "# UNIT \(name) \(unit)\n" }
      out += "# HELP \(name) \(help)\n"
      for sample in samples { out += "\(name){\(sample.labels)} \(sample.value)\n" }
    }
    func bytes(_ name: String, _ help: String, _ count: (CachedPages) -> Int64?) {
      family(
        name + "_bytes", "bytes", help,
        reports.compactMap { report in
          guard report.pages.knownFiles > 0 || report.pages.isComplete, let pages = count(report.pages) else {
            return nil
          }
          return (Self.label(report.path), CacheWords(pages: report.pages).bytes(pages))
        })
    }
    family(
      "size_bytes", "bytes", "Bytes of the files below the path.", reports.map { (Self.label($0.path), $0.size) })
    bytes("resident", "Bytes of the files in the page cache.") { $0.resident }
    bytes("dirty", "Resident bytes that wait for their write-back, in whole folios.") { $0.hasDetails ? $0.dirty : nil }
    bytes("writeback", "Resident bytes that are being written back.") { $0.hasDetails ? $0.inWriteBack : nil }
    bytes("evicted", "Bytes that were in the page cache and were taken away.") { $0.hasDetails ? $0.evicted : nil }
    bytes("recently_evicted", "Bytes that were taken away so lately that they would come back as active.") {
      $0.hasDetails ? $0.recentlyEvicted : nil
    }
    family(
      "files", nil, "Files below the path, by whether the kernel tells what is resident of them.",
      reports.flatMap { report in
        [
          ("known", report.pages.knownFiles), ("not_permitted", report.pages.hiddenFiles),
          ("not_known", report.pages.unknownFiles),
        ].map { ("\(Self.label(report.path)),state=\"\($0.0)\"", Int64($0.1)) }
      })
    family(
      "failed_entries", nil, "Entries below the path that could not be looked at.",
      reports.map { (Self.label($0.path), Int64($0.walk?.failures ?? 0)) })
    family(
      "up", nil, "1 where the path could be looked at.",
      reports.map { (Self.label($0.path), 1) } + failed.map { (Self.label($0), 0) })
    return out + "# EOF\n"
  }

  private static func label(_ path: FilePath) -> String {
    var out = "path=\""
    let bytes = PathText.bytes(of: path)
    // Control characters and what is not UTF-8 would break the line, or the file.
    let text = PathText.isText(bytes) ? String(decoding: bytes, as: UTF8.self) : PathText.shown(path)
    for scalar in text.unicodeScalars {
      switch scalar {
      case "\\": out += "\\\\"
      case "\"": out += "\\\""
      case "\n": out += "\\n"
      default: out.unicodeScalars.append(scalar)
      }
    }
    return out + "\""
  }
}

// SPDX-License-Identifier: Apache-2.0

internal import MemoryMapping
internal import SystemPackage

/// What came of appending.
struct AppendReport: Report {
  let path: FilePath
  let appended: AppendedRecords
  /// Of the file, 0 for records of any length.
  let stride: Int
  /// Bytes of data in the file.
  let committed: Int
  /// Those that are on the device.
  var durable: Int
  var flushFailure: MappingError?
  var seconds: Double

  func text(_ style: Style) -> String {
    var out = FactLines(PathText.shown(path), style)
    out.add(
      "appended", "\(Figures.count(appended.records, "record", "records")), \(Figures.exact(Int64(appended.bytes)))")
    if appended.leftOver > 0 { out.add("left over", Figures.exact(Int64(appended.leftOver)), isWarning: true) }
    out.add("committed", Figures.exact(Int64(committed)) + (stride > 0 ? ", in records of \(stride) bytes" : ""))
    out.add(
      "on device",
      durable == committed
        ? "all of it" : style.yellow("\(Figures.exact(Int64(durable))); a power cut may take what lies behind"))
    let time = Figures.nanoseconds(seconds * 1e9, style)
    out.add(
      "time", appended.flushes > 0 ? "\(time), \(Figures.count(appended.flushes, "flush", "flushes")) on the way" : time
    )
    return out.lines.joined(separator: "\n") + "\n"
  }

  func write(to json: inout JSONWriter) {
    json.beginObject()
    json.add("kind", "growable")
    json.addPath(path)
    json.add("appended_records", appended.records)
    json.add("appended_bytes", appended.bytes)
    json.add("left_over_bytes", appended.leftOver)
    json.add("committed_bytes", committed)
    json.add("durable_bytes", durable)
    json.add("stride_bytes", stride)
    json.add("flushes_on_the_way", appended.flushes)
    json.add("seconds", seconds)
    json.add("interrupted", appended.wasCancelled)
    json.endObject()
  }
}

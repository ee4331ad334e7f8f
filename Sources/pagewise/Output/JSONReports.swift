// SPDX-License-Identifier: Apache-2.0

internal import AccessAdvisor
internal import MemoryMapping
internal import SharedMemory
internal import SystemPackage

/// The whole output as one JSON object, written as the reports come.
///
/// Names are stable and end in their unit. `format` is raised when a name changes its meaning or goes away; new names may
/// come at any time.
final class JSONReports {
  private var json = JSONWriter()
  let stream: FileDescriptor
  private var errors: [Failure] = []

  private enum Failure {
    case file(MappingError, FilePath)
    case region(SharedMemoryError)
  }

  /// - Parameter stream: standard output, or standard error where the first is taken.
  init(on stream: FileDescriptor = .standardOutput) { self.stream = stream }

  private func write() {
    let text = json.take()
    if stream == .standardError { Standard.error(text) } else { Standard.output(text) }
  }

  func begin() {
    json.beginObject()
    json.add("pagewise", Pagewise.version)
    json.add("format", 1)
    json.beginArray("reports")
  }

  func add(_ report: some Report) {
    report.write(to: &json)
    write()
  }

  func add(_ error: MappingError, path: FilePath) { errors.append(.file(error, path)) }

  func add(_ error: SharedMemoryError) { errors.append(.region(error)) }

  func end(wasInterrupted: Bool) {
    json.endArray()
    json.beginArray("errors")
    for failure in errors {
      switch failure {
      case .file(let error, let path): json.add(error, path: path)
      case .region(let error): json.add(error)
      }
    }
    json.endArray()
    json.add("interrupted", wasInterrupted)
    json.endObject()
    write()
  }
}

extension JSONWriter {
  mutating func addPath(_ path: FilePath) {
    let bytes = PathText.bytes(of: path)
    add("path", String(decoding: bytes, as: UTF8.self))
    if !PathText.isText(bytes) { add("path_hex", PathText.hex(bytes)) }
  }

  mutating func add(_ error: MappingError, path: FilePath) {
    beginObject()
    addPath(path)
    add("code", "\(error.code)")
    add("operation", error.operation.name)
    add("errno", error.errno.map { Int64($0.rawValue) })
    add("offset_bytes", error.offset)
    var bare = error
    bare.path = nil
    add("message", "\(bare)")
    endObject()
  }

  fileprivate mutating func add(_ report: FileReport) {
    beginObject()
    add("kind", "file")
    addPath(report.path)
    add(report.file)
    beginObject("measuring")
    add("cold", report.measuring.isCold)
    add("evictions", report.measuring.eviction.map { Int64($0.count) })
    add("stayed_pages", report.measuring.eviction?.pagesThatStayed)
    add("window_bytes", report.measuring.windowBytes)
    add("seconds", report.measuring.seconds)
    add("verified_equal_bytes", report.measuring.isVerified)
    add("interrupted", report.measuring.isInterrupted)
    endObject()
    beginArray("rows")
    for row in report.results { add(row) }
    endArray()
    add("advice", report.advice)
    endObject()
  }

  private mutating func add(_ file: FileDescription) {
    beginObject("file")
    add("size_bytes", file.facts.size)
    add("type", file.facts.type.rawValue)
    add("file_system", file.facts.fileSystem?.name)
    add("resident_pages", file.residentPages)
    add("resident_exact", file.isResidencyExact)
    add("pages", file.pages)
    add("dirty_pages", file.dirtyPages)
    add("page_size_bytes", file.pageSize)
    add("pages_per_fault", file.facts.pagesPerFault.map { Int64($0) })
    add("read_ahead_bytes", file.facts.readAhead)
    add("allocated_bytes", file.facts.allocated)
    add("memory_room_bytes", file.facts.memoryRoom)
    switch file.writers {
    case .none: add("writers", "none")
    case .unknown: add("writers", "unknown")
    case .present(let process, let name):
      add("writers", "present")
      add("writer_process", process)
      add("writer_name", name)
    }
    add("hole_count", file.holes.map { Int64($0.count) })
    add("hole_bytes", file.holes?.bytes)
    add("modified_seconds_ago", file.modifiedSecondsAgo)
    beginArray("hazards")
    for hazard in file.hazards {
      beginObject()
      add("code", hazard.code.rawValue)
      add("sentence", hazard.sentence)
      endObject()
    }
    endArray()
    endObject()
  }

  mutating func add(_ row: AccessResult, key: String? = nil) {
    beginObject(key)
    add("access", row.access.kind.rawValue)
    add("count", row.access.count)
    add("read_size_bytes", row.access.readSize)
    beginObject("strategies")
    for cell in row.cells {
      beginObject(cell.strategy.jsonName)
      add("median_ns", cell.medianNanoseconds)
      add("fastest_ns", cell.fastestNanoseconds)
      add("slowest_ns", cell.slowestNanoseconds)
      add("rounds", cell.rounds)
      add("extrapolated", cell.isExtrapolated)
      add("method", cell.method)
      endObject()
    }
    endObject()
    add("best", row.best?.strategy.jsonName)
    add("best_median_ns", row.best.map { Int64(clamping: $0.medianNanoseconds) })
    add("chosen", row.chosen?.strategy.jsonName)
    add("chosen_median_ns", row.chosen.map { Int64(clamping: $0.medianNanoseconds) })
    add("chosen_measured", row.chosen?.isMeasured ?? false)
    add("chosen_call", row.chosen?.call)
    add("chosen_because", row.chosen?.sentence)
    add("regret", row.regret)
    endObject()
  }
}

extension FileReport: Report {
  func text(_ style: Style) -> String { FileTable(self, style).text }
  func write(to json: inout JSONWriter) { json.add(self) }
}

extension FileBytes.Strategy {
  /// The name in JSON.
  var jsonName: String {
    switch self {
    case .map: "map"
    case .mapPopulate: "map_populate"
    case .read: "read"
    case .stream: "stream"
    }
  }

  /// The name in tables.
  var label: String { self == .mapPopulate ? "populate" : jsonName }
}

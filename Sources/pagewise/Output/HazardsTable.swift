// SPDX-License-Identifier: Apache-2.0

internal import MemoryMapping
internal import PageCache
internal import SystemPackage

extension HazardReport: Report {
  func text(_ style: Style) -> String {
    var lines: [String] = []
    for hazard in hazards { lines += hazard.lines(style) + [""] }
    func add(_ name: String, _ value: String) {
      lines.append(style.dim(name.padded(to: 12)) + value.wrapped(width: style.width - 12, indent: 12))
    }
    let found = Hazard.Severity.allCases.reversed().compactMap { severity -> String? in
      let count = hazards.count { $0.severity == severity }
      return count == 0 ? nil : Figures.count(count, severity.name, severity.names)
    }
    add("found", found.isEmpty ? "no hazards" : found.joined(separator: ", "))
    add(
      "looked at",
      Figures.count(processes.seen - processes.unknown, "process", "processes") + ", "
        + Figures.count(mappings, "mapping", "mappings") + " of files")
    if let unknown = processes.unknownText { add("unknown", style.yellow(unknown)) }
    if unknownFiles > 0 {
      let files = Figures.count(unknownFiles, "mapped file is", "mapped files are")
      let who = Standard.isRoot ? "in folders that this process cannot see" : "root could look at what is mapped itself"
      add("unknown", style.yellow("\(files) not at the path any more, or not to be seen there: \(who)"))
    }
    if isInterrupted { add("interrupted", style.yellow("the rest was not looked at")) }
    return lines.joined(separator: "\n") + "\n"
  }

  func write(to json: inout JSONWriter) {
    json.beginObject()
    json.add("kind", "hazards")
    json.add("worst", worst?.name)
    json.beginArray("hazards")
    for hazard in hazards { json.add(hazard) }
    json.endArray()
    json.add("mappings", mappings)
    json.add("processes", processes)
    json.add("unknown_files", unknownFiles)
    json.add("complete", isComplete)
    json.add("interrupted", isInterrupted)
    json.endObject()
  }
}

extension Hazard.Severity {
  var name: String {
    switch self {
    case .notice: "notice"
    case .warning: "warning"
    case .danger: "danger"
    }
  }

  fileprivate var names: String { name + "s" }
}

extension Hazard.Kind {
  var name: String {
    switch self {
    case .pastEnd: "past_end"
    case .growthRoom: "growth_room"
    case .mappingLimit: "mapping_limit"
    case .lockLimit: "lock_limit"
    case .deleted, .replaced, .sparse, .remote: rawValue
    }
  }
}

extension Hazard {
  fileprivate func lines(_ style: Style) -> [String] {
    let mark = severity.name.padded(to: 9)
    let shown = severity == .notice ? style.dim(mark) : style.yellow(mark)
    let place = file.map { "  " + style.bold(PathText.shown($0)) } ?? ""
    var lines = ["\(shown)\(kind.name.padded(to: 15))\(process.shown)\(place)"]
    func add(_ name: String, _ value: String) {
      lines.append(
        "  " + style.dim(name.padded(to: 8)) + style.text(value).wrapped(width: style.width - 10, indent: 10))
    }
    add("what", what + ".")
    if let first = addresses.first {
      add("where", first.hexadecimal + (addresses.count > 1 ? " and \(Figures.grouped(addresses.count - 1)) more" : ""))
    }
    add("so", consequence)
    add("remedy", remedy)
    return lines
  }
}

extension JSONWriter {
  fileprivate mutating func add(_ hazard: Hazard) {
    beginObject()
    add("kind", hazard.kind.name)
    add("severity", hazard.severity.name)
    add(hazard.process)
    if let file = hazard.file { addPath(file) } else { add("path", String?.none) }
    beginArray("addresses")
    for range in hazard.addresses { add(nil, range.hexadecimal) }
    endArray()
    add("amount", hazard.amount)
    add("limit", hazard.limit)
    add("what", hazard.what)
    add("consequence", hazard.consequence)
    add("remedy", hazard.remedy)
    endObject()
  }
}

// SPDX-License-Identifier: Apache-2.0

internal import MemoryMapping
internal import PageCache
internal import SystemPackage

extension EvictReport: Report {
  /// Files whose reasons are printed.
  private static let shownFiles = 20

  func text(_ style: Style) -> String {
    var out = FactLines(PathText.shown(path), style)
    let place = fileSystem.map { " on \($0.name)" } ?? ""
    if let walk {
      out.add("folder", "\(Figures.count(walk.files, "file", "files")), \(Figures.bytes(size))\(place)")
      out.add(walk)
    } else {
      out.add("file", "\(Figures.exact(size))\(place)")
    }
    out.add("before", CacheWords(pages: before).resident)
    out.add("after", CacheWords(pages: after).resident)
    if let left = CacheWords(pages: after).leftOut { out.add("left out", left, isWarning: true) }
    if synced > 0 { out.add("synced", Figures.count(synced, "dirty file", "dirty files")) }
    if refused > 0 {
      out.add("left alone", "\(Figures.count(refused, "dirty file", "dirty files")), by --no-sync", isWarning: true)
    }
    if isInterrupted { out.add("interrupted", "the rest was left alone", isWarning: true) }
    for file in stayed.prefix(Self.shownFiles) {
      let name = walk == nil ? "" : " of \(PathText.shown(file.path))"
      out.add("stayed", "\(CacheWords(pages: file.pages).exact(file.pages.resident))\(name)", isWarning: true)
      for reason in file.reasons { out.add("", reason.sentence) }
      for holder in file.holders?.holders ?? [] where !holder.mappings.isEmpty { out.add("", holder.mappingSentence) }
      if let unknown = file.holders?.processes.unknownText { out.add("", unknown) }
    }
    if stayedFiles > min(stayed.count, Self.shownFiles) {
      out.add("", "and \(Figures.grouped(stayedFiles - min(stayed.count, Self.shownFiles))) more files")
    }
    return out.text
  }

  func write(to json: inout JSONWriter) {
    json.beginObject()
    json.add("kind", walk == nil ? "file" : "folder")
    json.addPath(path)
    json.add("file_system", fileSystem?.name)
    json.add("size_bytes", size)
    if let walk { json.add(walk) }
    json.add("cache_before", before)
    json.add("cache_after", after)
    json.add("synced_files", synced)
    json.add("left_alone_dirty_files", refused)
    json.add("stayed_files", stayedFiles)
    json.beginArray("stayed")
    for file in stayed {
      json.beginObject()
      json.addPath(file.path)
      json.add("cache", file.pages)
      json.beginArray("reasons")
      for reason in file.reasons {
        json.beginObject()
        json.add("code", reason.code)
        json.add("sentence", reason.sentence)
        json.endObject()
      }
      json.endArray()
      if let holders = file.holders {
        json.beginArray("holders")
        for holder in holders.holders where !holder.mappings.isEmpty {
          json.beginObject()
          json.add("process", Int64(holder.process.id))
          json.add("name", holder.process.name)
          json.add("mappings", holder.mappings.count)
          json.add("resident_bytes", holder.memory.resident)
          json.add("locked_bytes", holder.memory.locked)
          json.endObject()
        }
        json.endArray()
        json.add("unknown_processes", holders.processes.unknown)
      }
      json.endObject()
    }
    json.endArray()
    json.add("elapsed_ns", nanoseconds)
    json.add("interrupted", isInterrupted)
    json.endObject()
  }
}

extension EvictReport.Reason {
  fileprivate var code: String {
    switch self {
    case .mapped: "mapped"
    case .dirty: "dirty"
    case .inWriteBack: "write_back"
    case .noDevice: "no_device"
    case .unknownProcesses: "unknown_processes"
    case .unknown: "unknown"
    }
  }

  fileprivate var sentence: String {
    let page = Int64(SystemPage.size)
    return switch self {
    case .mapped(let mappings, let processes, let locked):
      "mapped \(Figures.times(mappings)), by "
        + Figures.count(processes, "process", "processes")
        + (locked > 0 ? ", \(Figures.bytes(locked)) locked" : "") + ": goes once no mapping shows it"
    case .dirty(let pages): "dirty: \(Figures.bytes(pages * page)), which a sync would bring to the device"
    case .inWriteBack(let pages): "in write-back: \(Figures.bytes(pages * page)), which the device is about to have"
    case .noDevice(let name): "no device: \(name) lives in memory, there is nowhere to bring it back from"
    case .unknownProcesses(let count):
      "maybe mapped by one of \(Figures.count(count, "process", "processes")) that could not be looked into"
    case .unknown:
      "not known why: somebody reads it just now, or a part of the kernel holds it (a loop device, io_uring)"
    }
  }
}

extension FileHolder {
  /// For instance `PID 4711 (mysqld) maps it twice, 1.00 GiB in memory, 4.00 KiB locked`.
  fileprivate var mappingSentence: String {
    let memory = memory
    return
      "PID \(process.id) (\(PathText.escaped(Array(process.name.utf8)))) maps it \(Figures.times(mappings.count)), "
      + "\(Figures.bytes(memory.resident)) in its page table"
      + (memory.locked > 0 || memory.isLocked ? ", locked \(Figures.bytes(memory.locked))" : "")
  }
}

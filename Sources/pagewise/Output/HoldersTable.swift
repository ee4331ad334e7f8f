// SPDX-License-Identifier: Apache-2.0

internal import MemoryMapping
internal import PageCache
internal import SystemPackage

extension HoldersReport: Report {
  func text(_ style: Style) -> String {
    var out = FactLines(PathText.shown(path), style)
    if let walk {
      out.add(
        "folder",
        "\(Figures.count(walk.files, "file", "files")), \(Figures.bytes(walk.bytes)), "
          + Figures.count(walk.folders, "folder", "folders"))
      out.add(walk)
      out.add("held", files.isEmpty ? nobody : Figures.count(files.count, "file", "files"))
    } else if let file = files.first {
      out.add("file", Figures.exact(file.size))
      out.add("held by", file.held.holders.isEmpty ? nobody : file.held.summary)
    }
    if let unknown = processes.unknownText { out.add("unknown", unknown, isWarning: true) }
    if isInterrupted { out.add("interrupted", "the rest is not in it", isWarning: true) }
    for file in files {
      if walk != nil {
        out.add(raw: "")
        out.add(raw: "  " + style.bold(PathText.shown(file.path)))
        out.add("file", "\(Figures.exact(file.size)), \(file.held.summary)")
      }
      for holder in file.held.holders { out.add(raw: holder.lines(style)) }
    }
    return out.text
  }

  private var nobody: String { processes.isComplete ? "nobody" : "nobody that could be seen" }

  func write(to json: inout JSONWriter) {
    json.beginObject()
    json.add("kind", walk == nil ? "file" : "folder")
    json.addPath(path)
    if let walk { json.add(walk) }
    json.add("processes", processes)
    json.beginArray("files")
    for file in files {
      json.beginObject()
      json.addPath(file.path)
      json.add("size_bytes", file.size)
      json.add("device", file.held.device)
      json.add("inode", file.held.inode)
      json.add("mappings", file.held.mappingCount)
      json.add("descriptors", file.held.descriptorCount)
      json.addMemory(file.held.memory)
      json.beginArray("holders")
      for holder in file.held.holders { json.add(holder) }
      json.endArray()
      json.endObject()
    }
    json.endArray()
    json.add("interrupted", isInterrupted)
    json.endObject()
  }
}

extension ProcessCounts {
  /// What could not be looked at, as a sentence; nil when that is nothing.
  var unknownText: String? {
    if areHidden { return "processes of other users are hidden here (hidepid): run as root to see them" }
    guard unknown > 0 else { return nil }
    if Standard.isRoot {
      return
        "\(Figures.count(unknown, "process", "processes")) could not be read, even as root: a container or a security "
        + "module forbids it"
    }
    let them = unknown == 1 ? "it" : "them"
    return "\(Figures.count(unknown, "process", "processes")) could not be read: run as root to see \(them)"
  }
}

extension ProcessIdentity {
  /// For instance `1234 postgres`, on one line whatever the name is.
  var shown: String { "\(id) \(name.isEmpty ? "(ended)" : PathText.escaped(Array(name.utf8)))" }
}

extension FileHolders {
  /// For instance `2 processes, mapped 3 times, 1 open descriptor`.
  fileprivate var summary: String {
    var parts = [Figures.count(holders.count, "process", "processes")]
    if mappingCount > 0 { parts.append("mapped \(Figures.times(mappingCount))") }
    if descriptorCount > 0 { parts.append(Figures.count(descriptorCount, "open descriptor", "open descriptors")) }
    return parts.joined(separator: ", ")
  }
}

extension Figures {
  /// `once`, `twice`, `3 times`.
  static func times(_ count: Int) -> String { count == 1 ? "once" : count == 2 ? "twice" : "\(grouped(count)) times" }
}

extension FileHolder {
  fileprivate func lines(_ style: Style) -> [String] {
    var owner: [String] = []
    if let user = process.user { owner.append("uid \(user)") }
    if let group = process.controlGroup { owner.append("cgroup \(PathText.escaped(Array(group.utf8)))") }
    var lines = ["  \(process.shown)" + (owner.isEmpty ? "" : style.dim("  \(owner.joined(separator: ", "))"))]
    func add(_ value: String) { lines.append("    " + value.wrapped(width: style.width - 4, indent: 8)) }
    if !mappings.isEmpty {
      add("mapped \(Figures.times(mappings.count)): \(memory.text)")
      for part in mappings {
        let mapping = part.mapping
        let end = mapping.offset.addingReportingOverflow(mapping.length).partialValue
        let rights = "\(mapping.permissions)\(mapping.isShared == true ? "s" : "p")"
        add(
          "  \(rights)  bytes \(Figures.grouped(Int64(clamping: mapping.offset))) "
            + "to \(Figures.grouped(Int64(clamping: end))), at \(mapping.addressText)"
            + (mappings.count > 1 ? ": \(part.memory?.text ?? "ended meanwhile")" : ""))
      }
    }
    if !descriptors.isEmpty {
      add(
        "open as "
          + descriptors.map { "\($0.number) (\($0.access?.words ?? "closed meanwhile"))" }.joined(separator: ", "))
    }
    return lines
  }
}

extension ProcessMapping {
  /// For instance `7f0012345000-7f0012346000`.
  var addressText: String { addresses.hexadecimal }
}

extension MappingMemory {
  fileprivate var text: String {
    guard resident > 0 || isLocked else { return "nothing resident" }
    var parts = ["\(Figures.bytes(resident)) resident"]
    if proportional != resident { parts.append("\(Figures.bytes(proportional)) its share") }
    if dirty > 0 { parts.append("\(Figures.bytes(dirty)) dirty") }
    if locked > 0 || isLocked { parts.append("\(Figures.bytes(locked)) locked") }
    return parts.joined(separator: ", ")
  }
}

extension FileHolder.Access {
  fileprivate var words: String {
    switch self {
    case .read: "read"
    case .write: "write"
    case .readWrite: "read and write"
    case .path: "name only"
    }
  }

  var name: String { self == .readWrite ? "read_write" : rawValue }
}

extension JSONWriter {
  mutating func add(_ key: String, _ processes: ProcessCounts) {
    beginObject(key)
    add("seen", processes.seen)
    add("unknown", processes.unknown)
    add("hidden", processes.areHidden)
    add("complete", processes.isComplete)
    endObject()
  }

  /// Members of the object that is open.
  mutating func add(_ process: ProcessIdentity) {
    add("pid", Int(process.id))
    add("name", process.name)
    add("uid", process.user.map { Int64($0) })
    add("cgroup", process.controlGroup)
  }

  /// Members of the object that is open.
  mutating func addMemory(_ memory: MappingMemory?) {
    add("resident_bytes", memory?.resident)
    add("proportional_bytes", memory?.proportional)
    add("private_dirty_bytes", memory?.privateDirty)
    add("shared_dirty_bytes", memory?.sharedDirty)
    add("locked_bytes", memory?.locked)
  }

  fileprivate mutating func add(_ holder: FileHolder) {
    beginObject()
    add(holder.process)
    beginArray("mappings")
    for part in holder.mappings {
      beginObject()
      add("addresses", part.mapping.addressText)
      add("permissions", "\(part.mapping.permissions)")
      add("shared", part.mapping.isShared == true)
      add("offset_bytes", part.mapping.offset)
      add("length_bytes", part.mapping.length)
      addMemory(part.memory)
      add("locked", part.memory?.isLocked ?? false)
      endObject()
    }
    endArray()
    beginArray("descriptors")
    for descriptor in holder.descriptors {
      beginObject()
      add("number", Int(descriptor.number))
      add("access", descriptor.access?.name)
      add("position_bytes", descriptor.position)
      endObject()
    }
    endArray()
    endObject()
  }
}

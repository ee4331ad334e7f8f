// SPDX-License-Identifier: Apache-2.0

internal import MemoryMapping
internal import PageCache
internal import SystemPackage

extension AddressExplanation: Report {
  func text(_ style: Style) -> String {
    var out = FactLines("0x" + String(address, radix: 16), style)
    switch source {
    case .process(let process): out.add("process", process.shown)
    case .core(let path, let process, let name):
      let who = [process.map { "\($0)" }, name.map { PathText.escaped(Array($0.utf8)) }].compactMap { $0 }
      out.add("core", PathText.shown(path) + (who.isEmpty ? "" : ", of process \(who.joined(separator: " "))"))
    case .savedMaps: out.add("source", "a saved list of mappings")
    }
    if let signal {
      let elsewhere = signal.address.map { $0 == address ? "" : " at 0x\(String($0, radix: 16))" } ?? ""
      out.add("signal", signal.name + (signal.codeName.map { " (\($0))" } ?? "") + elsewhere)
    }
    if let mapping {
      out.add("mapping", mapping.shown)
      if let fileOffset, let filePage {
        out.add(
          "in file",
          "byte \(Figures.grouped(Int64(clamping: fileOffset))), page \(Figures.grouped(Int64(clamping: filePage)))")
      }
    } else {
      out.add("mapping", "none")
      if let below { out.add("below", below.shown) }
      if let above { out.add("above", above.shown) }
    }
    if let file { out.add("file", file.text) }
    out.add("why", cause)
    out.add("remedy", remedy)
    return out.text
  }

  func write(to json: inout JSONWriter) {
    json.beginObject()
    json.add("kind", "address")
    json.add("address", "0x" + String(address, radix: 16))
    switch source {
    case .process(let process):
      json.add("source", "process")
      json.add("pid", Int(process.id))
      json.add("name", process.name)
    case .core(let path, let process, let name):
      json.add("source", "core")
      json.add("pid", process.map { Int64($0) })
      json.add("name", name)
      json.addPath(path)
    case .savedMaps: json.add("source", "maps")
    }
    json.add("place", place.name)
    if let signal {
      json.beginObject("signal")
      json.add("number", Int(signal.number))
      json.add("name", signal.name)
      json.add("code", Int(signal.code))
      json.add("code_name", signal.codeName)
      json.add("address", signal.address.map { "0x" + String($0, radix: 16) })
      json.endObject()
    } else {
      json.add("signal", String?.none)
    }
    json.add("mapping", mapping)
    json.add("below", below)
    json.add("above", above)
    json.add("file_offset_bytes", fileOffset.map { Int64(clamping: $0) })
    json.add("file_page", filePage.map { Int64(clamping: $0) })
    if let file {
      json.beginObject("file")
      json.add("size_bytes", file.size)
      json.add("naming", file.naming.rawValue)
      json.add("mapped_file_itself", file.isMappedFileItself)
      json.add("file_system", file.fileSystem)
      json.add("hole", known: file.isHole)
      json.add("free_bytes", file.freeBytes)
      json.endObject()
    } else {
      json.add("file", String?.none)
    }
    json.add("cause", cause)
    json.add("remedy", remedy)
    json.endObject()
  }
}

extension AddressExplanation.Place {
  fileprivate var name: String {
    switch self {
    case .pastEnd: "past_end"
    case .unknownFile: "unknown_file"
    case .guardPage: "guard_page"
    case .stackOverflow: "stack_overflow"
    case .nullPointer: "null_pointer"
    case .notUser: "not_user"
    case .file, .memory, .unmapped: rawValue
    }
  }
}

extension AddressExplanation.FileCondition {
  fileprivate var text: String {
    var parts: [String] = []
    if let size { parts.append(Figures.exact(size) + (fileSystem.map { " on \($0)" } ?? "")) }
    switch naming {
    case .present: parts.append(isMappedFileItself ? "still at its path" : "as it is at its path now")
    case .deleted: parts.append(size == nil ? "not at its path any more" : "deleted from its folder")
    case .replaced:
      parts.append(
        isMappedFileItself ? "replaced at its path by another file" : "another file than the one that was mapped")
    case .unknown: parts.append("whether it is still at its path is not known")
    }
    return parts.joined(separator: ", ")
  }
}

extension ProcessMapping {
  /// For instance `7f0012345000-7f0012346000 r--s /srv/data.db`, on one line whatever the name is.
  fileprivate var shown: String {
    let sharing = isShared.map { $0 ? "s" : "p" } ?? ""
    let label = nameBytes.isEmpty ? "without a file" : PathText.escaped(nameBytes)
    return "\(addressText) \(permissions)\(sharing) \(label)\(isDeleted && !isMemoryFile ? " (deleted)" : "")"
  }
}

extension JSONWriter {
  fileprivate mutating func add(_ key: String, _ mapping: ProcessMapping?) {
    guard let mapping else {
      add(key, String?.none)
      return
    }
    beginObject(key)
    add("addresses", mapping.addressText)
    add("permissions", "\(mapping.permissions)")
    add("shared", known: mapping.isShared)
    add("offset_bytes", mapping.offset)
    add("name", mapping.name)
    if !PathText.isText(mapping.nameBytes) { add("name_hex", PathText.hex(mapping.nameBytes)) }
    add("deleted", mapping.isDeleted)
    endObject()
  }

  fileprivate mutating func add(_ key: String, known value: Bool?) {
    guard let value else {
      add(key, String?.none)
      return
    }
    add(key, value)
  }
}

// SPDX-License-Identifier: Apache-2.0

/// Which process it is.
public struct ProcessIdentity: Sendable, Hashable {
  /// Its number, as this process's namespace has it. C: `tgid`.
  public let id: Int32
  /// Its short name, 15 bytes at most; empty when it ended meanwhile. Any characters: escape it before you print it. C: `comm`.
  public let name: String
  /// The user in whose name it acts; nil when it ended meanwhile. C: `euid`.
  public let user: UInt32?
  /// The control group that its memory is counted in, such as `/system.slice/web.service`; nil when it ended meanwhile. That of
  /// the memory controller of version 1 where there is one, else the group of version 2.
  public let controlGroup: String?

  package init(id: Int32, name: String = "", user: UInt32? = nil, controlGroup: String? = nil) {
    self.id = id
    self.name = name
    self.user = user
    self.controlGroup = controlGroup
  }

  /// Asks for all of it: three small files. The name is that of the process, the rest that of a thread that lives: one that has ended
  /// is in no group any more.
  package init(asking folder: ProcessFolder, _ reader: inout ProcText) {
    id = folder.process
    if reader.read("/proc/\(id)/comm") == nil {
      // The name may hold a newline of its own: the last one is not part of it.
      let bytes = reader.bytes.last == 0x0A ? reader.bytes.dropLast() : reader.bytes[...]
      name = String(decoding: bytes, as: UTF8.self)
    } else {
      name = ""
    }
    user = reader.read(folder.path("status")) == nil ? Self.effectiveUser(reader.text) : nil
    controlGroup = reader.read(folder.path("cgroup")) == nil ? Self.memoryGroup(reader.text) : nil
  }

  /// From the line `Uid: real effective saved file-system`.
  package static func effectiveUser(_ status: String) -> UInt32? {
    for line in status.split(separator: "\n") where line.hasPrefix("Uid:") {
      let fields = line.dropFirst(4).split { $0 == "\t" || $0 == " " }
      return fields.count > 1 ? UInt32(fields[1]) : nil
    }
    return nil
  }

  /// From lines `NUMBER:CONTROLLERS:PATH`.
  package static func memoryGroup(_ text: String) -> String? {
    var group: String? = nil
    for line in text.split(separator: "\n") {
      let parts = line.split(separator: ":", maxSplits: 2, omittingEmptySubsequences: false)
      guard parts.count == 3 else { continue }
      if parts[1].split(separator: ",").contains("memory") { return String(parts[2]) }
      if parts[0] == "0", parts[1].isEmpty { group = String(parts[2]) }
    }
    return group
  }
}

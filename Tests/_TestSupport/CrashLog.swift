// SPDX-License-Identifier: Apache-2.0

internal import SystemPackage

#if canImport(Glibc)
  internal import Glibc
#elseif canImport(Darwin)
  internal import Darwin
#endif

/// Records how a program changes the files of one folder, so that the states can be built that a power cut could leave.
///
/// The model of the storage: what was written since the last sync of its file may be there or not, each write by itself, in any
/// order, and in part: any of its sectors of 512 bytes, or any of its blocks of 4,096. A change of size likewise. Names (made,
/// renamed, removed) become durable in the order in which they were changed, up to any point, and all of them with a sync of the
/// folder. A sync of a file makes all of its earlier writes durable.
public final class CrashLog {
  public enum Event {
    case write(file: Int, offset: Int, bytes: [UInt8])
    case size(file: Int, Int)
    case sync(file: Int)
    case name(String, file: Int)
    case rename(String, String)
    case remove(String)
    case syncFolder
    /// What the test wants to know about a point in time, for instance that a commit was acknowledged.
    case mark(Int)
  }

  public private(set) var events: [Event] = []
  /// The folder when the recording began: contents by file, and names.
  public private(set) var contents: [[UInt8]] = []
  public private(set) var names: [String: Int] = [:]
  private var identities: [UInt64: Int] = [:]
  private let folder: String
  /// Called when a mapping may have been stored to: gives the bytes of such files, by name.
  public var mapped: (() -> [(name: String, bytes: UnsafeRawBufferPointer)])?
  private var known: [Int: [UInt8]] = [:]

  /// Begins with the folder as it is now, taken as durable.
  public init(_ folder: String) throws {
    self.folder = folder
    for name in try Self.list(folder) {
      let file = contents.count
      let content = try Self.read(folder + "/" + name)
      contents.append(content)
      names[name] = file
      identities[Self.inode(folder + "/" + name)] = file
      known[file] = content
    }
  }

  /// Records what `body` does. `answer` may make calls fail, or pretend that they happened; those are not recorded.
  public func record<R>(
    answering answer: @escaping (CallWatch.Call) -> CallWatch.Answer = { _ in .perform }, _ body: () throws -> R
  ) rethrows -> R {
    var pretended = false
    let watch = CallWatch(
      before: { [self] call in
        observeMappings()
        let given = answer(call)
        if case .pretend = given { pretended = true } else { pretended = false }
        return given
      },
      after: { [self] call, result in if result >= 0, !pretended { note(call, result) } })
    defer { observeMappings() }
    return try watch.run(body)
  }

  public func mark(_ number: Int) {
    observeMappings()
    events.append(.mark(number))
  }

  private func note(_ call: CallWatch.Call, _ result: Int64) {
    switch call.kind {
    case .write:
      guard let file = file(call.descriptor) else { return }
      let bytes = Array(call.content.prefix(Int(result)))
      events.append(.write(file: file, offset: Int(call.offset), bytes: bytes))
      remember(file, Int(call.offset), bytes)
    case .truncate:
      guard let file = file(call.descriptor) else { return }
      events.append(.size(file: file, Int(call.offset)))
      if let size = known[file]?.count, size > Int(call.offset) {
        known[file]!.removeLast(size - Int(call.offset))
      } else {
        known[file, default: []] += [UInt8](repeating: 0, count: Int(call.offset) - (known[file]?.count ?? 0))
      }
    case .syncData, .syncFile:
      if let file = file(call.descriptor) { events.append(.sync(file: file)) }
    case .open:
      // A file that was not there: its name is new.
      guard let path = call.path, let name = inFolder(path), names(after: events)[name] == nil else { return }
      _ = register(name)
    case .rename:
      if let from = call.path.flatMap(inFolder), let to = call.other.flatMap(inFolder) {
        events.append(.rename(from, to))
      }
    case .unlink: if let name = call.path.flatMap(inFolder) { events.append(.remove(name)) }
    case .syncFolder: events.append(.syncFolder)
    default: break
    }
  }

  /// Stores through shared mappings since the last look: each sector that differs is a write of its own.
  private func observeMappings() {
    guard let mapped else { return }
    for (name, bytes) in mapped() {
      guard let file = names(after: events)[name] else { continue }
      var old = known[file] ?? []
      if old.count < bytes.count { old += [UInt8](repeating: 0, count: bytes.count - old.count) }
      old.withUnsafeMutableBytes { old in
        if memcmp(old.baseAddress!, bytes.baseAddress!, bytes.count) == 0 { return }
        for at in stride(from: 0, to: bytes.count, by: 512) {
          let step = min(512, bytes.count - at)
          guard memcmp(old.baseAddress! + at, bytes.baseAddress! + at, step) != 0 else { continue }
          events.append(.write(file: file, offset: at, bytes: Array(bytes[at..<at + step])))
          memcpy(old.baseAddress! + at, bytes.baseAddress! + at, step)
        }
      }
      known[file] = old
    }
  }

  private func remember(_ file: Int, _ offset: Int, _ bytes: [UInt8]) {
    var content = known[file] ?? []
    if content.count < offset + bytes.count {
      content += [UInt8](repeating: 0, count: offset + bytes.count - content.count)
    }
    content.replaceSubrange(offset..<offset + bytes.count, with: bytes)
    known[file] = content
  }

  private func register(_ name: String) -> Int {
    let file = contents.count
    contents.append([])
    known[file] = []
    identities[Self.inode(folder + "/" + name)] = file
    events.append(.name(name, file: file))
    return file
  }

  private func file(_ descriptor: CInt) -> Int? {
    var found = stat()
    guard fstat(descriptor, &found) == 0 else { return nil }
    return identities[UInt64(found.st_ino)]
  }

  private func inFolder(_ path: String) -> String? {
    path.hasPrefix(folder + "/") ? String(path.dropFirst(folder.utf8.count + 1)) : nil
  }

  public func names(after events: [Event]) -> [String: Int] {
    var names = names
    for event in events { Self.apply(event, to: &names) }
    return names
  }

  static func apply(_ event: Event, to names: inout [String: Int]) {
    switch event {
    case .name(let name, let file): names[name] = file
    case .rename(let from, let to): names[to] = names.removeValue(forKey: from)
    case .remove(let name): names[name] = nil
    default: break
    }
  }

  static func list(_ folder: String) throws -> [String] {
    guard let open = opendir(folder) else { throw Errno(rawValue: errno) }
    defer { closedir(open) }
    var names: [String] = []
    while let entry = readdir(open) {
      let name = withUnsafeBytes(of: entry.pointee.d_name) {
        String(cString: $0.bindMemory(to: CChar.self).baseAddress!)
      }
      if name != ".", name != ".." { names.append(name) }
    }
    return names.sorted()
  }

  static func read(_ path: String) throws -> [UInt8] {
    let descriptor = try FileDescriptor.open(FilePath(path), .readOnly)
    defer { try? descriptor.close() }
    let size = try Int(descriptor.seek(offset: 0, from: .end))
    return try [UInt8](unsafeUninitializedCapacity: size) { buffer, used in
      used = try descriptor.read(fromAbsoluteOffset: 0, into: UnsafeMutableRawBufferPointer(buffer))
    }
  }

  static func inode(_ path: String) -> UInt64 {
    var found = stat()
    return stat(path, &found) == 0 ? UInt64(found.st_ino) : 0
  }

  // For bugs that are planted: the order of what was recorded.

  /// Gives the events in another order, or without some.
  public func rearrange(_ body: (inout [Event]) -> Void) { body(&events) }
}

// SPDX-License-Identifier: Apache-2.0

internal import MemoryMapping
internal import PageCache

extension FlushReport: Report {
  func text(_ style: Style) -> String {
    var out = FactLines(PathText.shown(path), style)
    let place = fileSystem.map { " on \($0.name)" } ?? ""
    let names = folders > 0 ? ", the names in \(Figures.count(folders, "folder", "folders"))" : ""
    out.add(level == .queued ? "begun" : "flushed", "\(Figures.count(files, "file", "files"))\(names)\(place)")
    out.add("level", promise)
    if let left = walk?.leftOut { out.add("left out", left) }
    if let failed = walk?.failed { out.add("failed", failed, isWarning: true) }
    if isInterrupted { out.add("interrupted", "the rest was not flushed", isWarning: true) }
    out.add("before", sum(before))
    out.add("after", sum(after))
    if let hidden = after.hidden { out.add("not counted", hidden, isWarning: true) }
    out.add("time", Figures.nanoseconds(Double(nanoseconds), style))
    return out.text
  }

  private var promise: String {
    if hasNoDevice { return "\(level.name): but this file system lives in memory, and a power cut takes all of it" }
    return switch level {
    case .queued: "queued: the kernel has begun to write, and a power cut may take any of it"
    case .data: "data: content, size and blocks are on the device"
    case .device: "device: content, size, blocks, times and mode are on the device"
    case .barrier: "barrier: nothing stored later gets to the device before this"
    }
  }

  private func sum(_ bytes: DirtyBytes) -> String {
    let waiting = bytes.text(bytes.waiting)
    if bytes.knownFiles == 0, !bytes.isComplete { return waiting }
    return "\(waiting) dirty" + (bytes.inWriteBack > 0 ? ", \(Figures.exact(bytes.inWriteBack)) in write-back" : "")
  }

  func write(to json: inout JSONWriter) {
    json.beginObject()
    json.add("kind", walk == nil ? "file" : "folder")
    json.addPath(path)
    json.add("level", level.name)
    json.add("file_system", fileSystem?.name)
    json.add("in_memory_only", hasNoDevice)
    if let walk { json.add(walk) }
    json.add("flushed_files", files)
    json.add("flushed_folders", folders)
    json.add("dirty_before", before)
    json.add("dirty_after", after)
    json.add("elapsed_ns", nanoseconds)
    json.add("interrupted", isInterrupted)
    json.endObject()
  }
}

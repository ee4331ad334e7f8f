// SPDX-License-Identifier: Apache-2.0

internal import MemoryMapping
internal import PageCache

extension DirtyReport: Report {
  func text(_ style: Style) -> String {
    var out = FactLines(PathText.shown(path), style)
    let place = fileSystem.map { " on \($0.name)" } ?? ""
    if let walk {
      out.add(
        "folder",
        "\(Figures.count(walk.files, "file", "files")), \(Figures.bytes(size)), "
          + "\(Figures.count(walk.folders, "folder", "folders"))\(place)")
      out.add(walk)
      if isInterrupted { out.add("interrupted", "the rest is not in it", isWarning: true) }
      out.add("waiting", bytes.text(bytes.waiting) + (bytes.knownFiles > 0 ? ", in \(dirty)" : ""))
    } else {
      out.add("file", "\(Figures.exact(size))\(place)")
      out.add("waiting", bytes.text(bytes.waiting))
    }
    out.add("write-back", bytes.text(bytes.inWriteBack))
    if let hidden = bytes.hidden { out.add("left out", hidden, isWarning: true) }
    if bytes.total > 0 { out.add("counted", "in whole folios: one stored byte counts, and is written, as up to 2 MiB") }
    if !largest.isEmpty {
      out.add(raw: "")
      out.add(
        raw:
          style.dim(
            "  " + "waiting".aligned(to: 10) + "write-back".aligned(to: 12) + "size".aligned(to: 10) + "  file"))
      for file in largest {
        out.add(
          raw:
            "  " + Figures.bytes(file.bytes.waiting).aligned(to: 10)
            + Figures.bytes(file.bytes.inWriteBack).aligned(to: 12) + Figures.bytes(file.size).aligned(to: 10) + "  "
            + PathText.shown(file.path))
      }
      if dirtyFiles > largest.count {
        out.add(raw: "  and \(Figures.grouped(dirtyFiles - largest.count)) more; see --top")
      }
    }
    return out.text
  }

  private var dirty: String { Figures.count(dirtyFiles, "file", "files") }

  func write(to json: inout JSONWriter) {
    json.beginObject()
    json.add("kind", walk == nil ? "file" : "folder")
    json.addPath(path)
    json.add("file_system", fileSystem?.name)
    json.add("size_bytes", size)
    if let walk { json.add(walk) }
    json.add("dirty", bytes)
    json.add("dirty_files", dirtyFiles)
    json.beginArray("largest")
    for file in largest {
      json.beginObject()
      json.addPath(file.path)
      json.add("size_bytes", file.size)
      json.add("waiting_bytes", file.bytes.waiting)
      json.add("write_back_bytes", file.bytes.inWriteBack)
      json.endObject()
    }
    json.endArray()
    json.add("interrupted", isInterrupted)
    json.endObject()
  }
}

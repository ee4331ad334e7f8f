// SPDX-License-Identifier: Apache-2.0

internal import MemoryMapping
internal import SystemPackage

/// What was found about one path.
struct VerificationReport: Report {
  /// As it was given.
  let path: FilePath
  let found: FileVerification

  // MARK: For people

  func text(_ style: Style) -> String {
    var out = FactLines(PathText.shown(path), style)
    out.add("what", found.format.words)
    for (name, value) in rows { out.add(name, value) }
    if found.problem != nil {
      out.add(raw: "  " + style.dim("state".padded(to: 12)) + style.yellow("damaged, see standard error"))
    } else {
      out.add("state", "whole")
    }
    out.add("next open", found.nextOpen)
    return out.text
  }

  private var rows: [(String, String)] {
    switch found.content {
    case .transactional(let found, let journal)?:
      var rows = [("size", Figures.exact(found.size))]
      rows.append(("journal", PathText.shown(journal) + (found.belongsTogether ? "" : ", made for another file")))
      rows.append(("generation", "\(found.generation) in the file"))
      rows.append(
        ("pending", found.pendingCommits.map { "\(Figures.count($0, "commit", "commits"))\(bytes(found))" } ?? unknown))
      rows.append(("writer", writer(found.isOpen)))
      return rows
    case .growable(let found)?:
      var rows = [("size", Figures.exact(found.size))]
      rows.append(("records", found.stride == 0 ? "of any length" : "of \(Figures.grouped(found.stride)) bytes"))
      rows.append(("committed", Figures.exact(Int64(found.committedCount))))
      rows.append(("on device", found.durableCount.map { Figures.exact(Int64($0)) } ?? unknown))
      rows.append(("checked", found.checkedCount.map { "the last \(Figures.exact(Int64($0)))" } ?? unknown))
      rows.append(("writer", writer(found.isOpen)))
      return rows
    case .numPy(let found)?:
      let header = found.header
      return [
        ("size", Figures.exact(found.size)),
        ("array", "\(header.shape.map { Figures.grouped($0) }.joined(separator: " x ")) of \(header.elementType)"),
        ("elements", "\(Figures.exact(Int64(header.byteCount))) from byte \(header.dataOffset)"),
        ("behind", found.excessCount == 0 ? "nothing" : Figures.exact(found.excessCount)),
      ]
    case nil: return []
    }
  }

  private var unknown: String { "not known while a writer has it open" }

  private func writer(_ isOpen: Bool) -> String { isOpen ? "has it open now" : "none" }

  private func bytes(_ found: TransactionalFile.Verification) -> String {
    guard let bytes = found.journalBytes, bytes > 0 else { return "" }
    return ", \(Figures.bytes(bytes)) of the journal"
  }

  // MARK: For programs

  func write(to json: inout JSONWriter) {
    json.beginObject()
    json.add("kind", found.format.name)
    json.addPath(path)
    json.add("sound", found.problem == nil)
    switch found.content {
    case .transactional(let found, _)?:
      json.add("size_bytes", found.size)
      json.add("generation", found.generation)
      json.add("pending_commits", found.pendingCommits.map { Int64($0) })
      json.add("pending_journal_bytes", found.journalBytes)
      json.add("journal_belongs", found.belongsTogether)
      json.add("open", found.isOpen)
    case .growable(let found)?:
      json.add("size_bytes", found.size)
      json.add("stride_bytes", found.stride)
      json.add("committed_bytes", found.committedCount)
      json.add("durable_bytes", found.durableCount.map { Int64($0) })
      json.add("checked_bytes", found.checkedCount.map { Int64($0) })
      json.add("excess_bytes", found.excessCount)
      json.add("lost_bytes", found.lostCount.map { Int64($0) })
      json.add("open", found.isOpen)
    case .numPy(let found)?:
      json.add("size_bytes", found.size)
      json.add("element_type", "\(found.header.elementType)")
      json.beginArray("shape")
      for dimension in found.header.shape { json.add(nil, dimension) }
      json.endArray()
      json.add("fortran_order", found.header.isFortranOrder)
      json.add("data_offset_bytes", found.header.dataOffset)
      json.add("data_bytes", found.header.byteCount)
      json.add("excess_bytes", found.excessCount)
    case nil: break
    }
    json.add("next_open", found.nextOpen)
    json.endObject()
  }
}

extension FileVerification.Format {
  var name: String {
    switch self {
    case .transactional: "transactional"
    case .growable: "growable"
    case .numPy: "numpy"
    }
  }

  fileprivate var words: String {
    switch self {
    case .transactional: "a transactional file with its journal"
    case .growable: "a growable file"
    case .numPy: "a NumPy array (.npy)"
    }
  }
}

// SPDX-License-Identifier: Apache-2.0

internal import MemoryMapping
internal import PageCache
internal import SystemPackage

extension WarmReport: Report {
  func text(_ style: Style) -> String {
    var out = FactLines(PathText.shown(path), style)
    let place = fileSystem.map { " on \($0.name)" } ?? ""
    if let list {
      out.add("list", "\(Figures.count(list.files, "file", "files")), \(Figures.bytes(wanted)) in ranges")
      if list.missing > 0 {
        out.add("missing", "\(Figures.count(list.missing, "file", "files")) gone", isWarning: true)
      }
      if list.changed > 0 {
        out.add("changed", "\(Figures.count(list.changed, "file", "files")) since the list was made")
      }
    } else if let walk {
      out.add("folder", "\(Figures.count(walk.files, "file", "files")), \(Figures.bytes(walk.bytes))\(place)")
      out.add(walk)
    } else {
      out.add("wanted", "\(Figures.exact(wanted))\(place)")
    }
    let seconds = Double(nanoseconds) / 1e9
    let rate =
      seconds > 0.01 && brought > 1 << 20 ? ", \(Figures.bytes(Int64(Double(brought) / seconds))) in a second" : ""
    out.add("warmed", "\(Figures.exact(brought)) in \(Figures.nanoseconds(Double(nanoseconds), style))\(rate)")
    if skipped > 0 { out.add("skipped", "\(Figures.exact(skipped)) that were in memory") }
    if let pages = pagesPerFault { out.add("per fault", Figures.count(pages, "page", "pages")) }
    out.add("before", CacheWords(pages: before).resident)
    out.add("after", CacheWords(pages: after).resident)
    if let lostAgain {
      out.add("lost again", "\(Figures.exact(lostAgain)): evicted meanwhile, memory is short", isWarning: true)
    }
    if failed > 0 { out.add("failed", "\(Figures.exact(failed)) cannot be loaded", isWarning: true) }
    if refused > 0 {
      let reason = firstRefusal.map { ": \($0)" } ?? ""
      out.add("refused", "\(Figures.count(refused, "request", "requests"))\(reason); read instead")
    }
    if isOverBudget {
      out.add("budget", "\(Figures.exact(budget)): used up, the rest is not warm; see --budget", isWarning: true)
    }
    if isInterrupted { out.add("interrupted", "the rest is not warm", isWarning: true) }
    return out.text
  }

  /// Bytes that were loaded and are not there at the end; nil where that is nothing or not known.
  private var lostAgain: Int64? {
    guard after.isComplete, before.isComplete else { return nil }
    let missing = brought - CacheWords(pages: after).bytes(after.resident - before.resident)
    // The last page counts whole in one of them.
    return missing >= 1 << 20 ? missing : nil
  }

  func write(to json: inout JSONWriter) {
    json.beginObject()
    json.add("kind", list != nil ? "list" : walk != nil ? "folder" : "file")
    json.addPath(path)
    json.add("file_system", fileSystem?.name)
    if let walk { json.add(walk) }
    if let list {
      json.add("list_files", list.files)
      json.add("missing_files", list.missing)
      json.add("changed_files", list.changed)
    }
    json.add("wanted_bytes", wanted)
    json.add("warmed_bytes", brought)
    json.add("skipped_bytes", skipped)
    json.add("failed_bytes", failed)
    json.add("refused_requests", refused)
    json.add("first_refusal_errno", firstRefusal.map { Int64($0.rawValue) })
    json.add("budget_bytes", budget)
    json.add("budget_used_up", isOverBudget)
    json.add("pages_per_fault", pagesPerFault.map { Int64($0) })
    json.add("cache_before", before)
    json.add("cache_after", after)
    json.add("elapsed_ns", nanoseconds)
    json.add("interrupted", isInterrupted)
    json.endObject()
  }
}

extension HotRanges: Report {
  func text(_ style: Style) -> String {
    var out = FactLines(PathText.shown(path), style)
    out.add(
      "saved",
      "\(Figures.count(files.count, "file", "files")) with something in memory, \(Figures.bytes(bytes)) in "
        + Figures.count(rangeCount, "range", "ranges"))
    if hiddenFiles > 0 {
      out.add("left out", "\(Figures.count(hiddenFiles, "file", "files")): not permitted to know", isWarning: true)
    }
    return out.text
  }

  func write(to json: inout JSONWriter) {
    json.beginObject()
    json.add("kind", "saved")
    json.addPath(path)
    json.add("files", files.count)
    json.add("ranges", rangeCount)
    json.add("bytes", bytes)
    json.add("not_permitted_files", hiddenFiles)
    json.endObject()
  }
}

/// What `pagewise lock` has locked.
struct LockReport: Report {
  let path: FilePath
  let walk: WalkCounts?
  let files: Int
  let bytes: Int64
  let isOnFault: Bool

  func text(_ style: Style) -> String {
    var out = FactLines(PathText.shown(path), style)
    if let walk { out.add(walk) }
    let how = isOnFault ? ", each page once it is loaded" : ""
    out.add("locked", "\(Figures.count(files, "file", "files")), \(Figures.exact(bytes))\(how)")
    return out.text
  }

  func write(to json: inout JSONWriter) {
    json.beginObject()
    json.add("kind", walk == nil ? "file" : "folder")
    json.addPath(path)
    if let walk { json.add(walk) }
    json.add("locked_files", files)
    json.add("locked_bytes", bytes)
    json.add("on_fault", isOnFault)
    json.endObject()
  }
}

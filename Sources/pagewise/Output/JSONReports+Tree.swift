// SPDX-License-Identifier: Apache-2.0

internal import AccessAdvisor
internal import PageCache

extension TreeReport: Report {
  func text(_ style: Style) -> String { TreeTable(self, style).text }
  func write(to json: inout JSONWriter) { json.add(self) }
}

extension JSONWriter {
  /// What was met on the way through a folder.
  mutating func add(_ walk: WalkCounts) {
    beginObject("walk")
    add("files", walk.files)
    add("folders", walk.folders)
    add("bytes", walk.bytes)
    add("hard_links_not_counted_again", walk.hardLinks)
    add("links_not_followed", walk.links)
    add("folders_met_again", walk.loops)
    add("special_files", walk.special)
    add("other_file_systems", walk.otherFileSystems)
    add("not_meant_by_name", walk.notMeant)
    add("files_counted_before", walk.countedBefore)
    add("failures", walk.failures)
    endObject()
  }

  fileprivate mutating func add(_ report: TreeReport) {
    beginObject()
    add("kind", "folder")
    addPath(report.path)
    add(report.walk)
    beginArray("classes")
    for found in report.classes {
      beginObject()
      add("upper_bound_bytes", found.upperBound)
      add("files", found.files)
      add("bytes", found.bytes)
      add("would_map", found.wouldMap)
      add("would_read", found.wouldRead)
      add("sparse_files", found.sparseFiles)
      add("hole_bytes", found.holeBytes)
      add("sample_resident_fraction", found.residentFraction)
      add("sample_files", found.sample?.files ?? 0)
      add("sample_bytes", found.sample?.bytes ?? 0)
      if let sample = found.sample { add(sample.result, key: "row") }
      endObject()
    }
    endArray()
    if let total = report.total {
      beginObject("total_seconds")
      add("map", total.alwaysMap)
      add("map_populate", total.alwaysMapPopulate)
      add("read", total.alwaysRead)
      add("stream", total.alwaysStream)
      add("chosen", total.chosen)
      add("best_of_each_class", total.best)
      endObject()
    }
    beginObject("measuring")
    add("cold", report.isCold)
    add("evictions", report.eviction.map { Int64($0.count) })
    add("stayed_pages", report.eviction?.pagesThatStayed)
    add("seconds", report.seconds)
    add("interrupted", report.isInterrupted)
    endObject()
    add("advice", report.advice)
    endObject()
  }
}

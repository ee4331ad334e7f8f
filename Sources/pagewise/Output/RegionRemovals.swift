// SPDX-License-Identifier: Apache-2.0

internal import SharedMemory

/// What `region gc` did, or would do.
struct RegionRemovals: Report {
  let folder: RuntimeFolder
  let removals: [RegionRemoval]
  let isDryRun: Bool

  func text(_ style: Style) -> String {
    guard !removals.isEmpty else { return "no regions in \(PathText.shown(folder.path))\n" }
    let width = min(max(8, removals.map(\.name.count).max() ?? 0), 40)
    var lines = [style.bold(PathText.shown(folder.path))]
    for removal in removals {
      lines.append(
        "  " + removal.name.padded(to: width) + Figures.bytes(removal.byteCount).aligned(to: 10) + "  "
          + outcome(removal, style) + waiting(removal))
    }
    let unused = removals.filter { $0.outcome == .unused }
    let size = Figures.bytes(unused.reduce(0) { $0 + $1.byteCount })
    let regions = Figures.count(unused.count, "region", "regions")
    if unused.isEmpty {
      lines.append("nothing to remove")
    } else if isDryRun {
      lines.append("\(regions), \(size), would be removed; nothing was: give --remove")
    } else {
      lines.append("\(regions), \(size), removed")
    }
    return lines.joined(separator: "\n") + "\n"
  }

  private func outcome(_ removal: RegionRemoval, _ style: Style) -> String {
    switch removal.outcome {
    case .unused: isDryRun ? "unused: would be removed" : "removed"
    case .inUse: "in use"
    case .isGone: "gone meanwhile"
    case .failed(let error): style.yellow("left: \(error.reason)")
    }
  }

  /// What is lost, or would be, with an unused region.
  private func waiting(_ removal: RegionRemoval) -> String {
    guard removal.outcome == .unused, removal.waitingBytes > 0 else { return "" }
    return
      ", \(isDryRun ? "with" : "and") \(Figures.bytes(Int64(clamping: removal.waitingBytes))) that waited for a receiver"
  }

  func write(to json: inout JSONWriter) {
    json.beginObject()
    json.add("kind", "region_removal")
    json.addPath(folder.path)
    json.add("dry_run", isDryRun)
    json.beginArray("regions")
    for removal in removals {
      json.beginObject()
      json.add("name", removal.name)
      json.add("size_bytes", removal.byteCount)
      json.add("waiting_bytes", removal.waitingBytes)
      json.add("outcome", isDryRun && removal.outcome == .unused ? "unused" : removal.outcome.name)
      json.endObject()
    }
    json.endArray()
    json.endObject()
  }
}

extension RegionRemoval.Outcome {
  fileprivate var name: String {
    switch self {
    case .unused: "removed"
    case .inUse: "in_use"
    case .isGone: "gone"
    case .failed: "failed"
    }
  }
}

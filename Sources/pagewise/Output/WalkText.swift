// SPDX-License-Identifier: Apache-2.0

internal import PageCache

extension WalkCounts {
  /// What was met and not looked at; nil when that is nothing.
  var leftOut: String? {
    var left: [String] = []
    if links > 0 { left.append("\(Figures.count(links, "symbolic link", "symbolic links")) not followed") }
    if loops > 0 { left.append("\(Figures.count(loops, "folder", "folders")) met again (loops)") }
    if hardLinks > 0 {
      left.append("\(Figures.count(hardLinks, "second name", "second names")) of counted files")
    }
    if countedBefore > 0 {
      left.append("\(Figures.count(countedBefore, "file", "files")) counted under an earlier path")
    }
    if notMeant > 0 { left.append("\(Figures.grouped(notMeant)) by name") }
    if special > 0 {
      left.append("\(Figures.count(special, "FIFO, socket or device", "FIFOs, sockets and devices"))")
    }
    if otherFileSystems > 0 { left.append("\(Figures.grouped(otherFileSystems)) on other file systems") }
    return left.isEmpty ? nil : left.joined(separator: ", ")
  }

  /// How many entries failed; nil when none did.
  var failed: String? {
    guard failures > 0 else { return nil }
    let kept = firstFailures.count
    let which = kept < failures ? ", the first \(kept) on standard error" : ", see standard error"
    return Figures.count(failures, "entry", "entries") + which
  }
}

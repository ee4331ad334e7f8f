// SPDX-License-Identifier: Apache-2.0

internal import PageCache

extension DirtyBytes {
  /// For instance `1.00 MiB (1,048,576 bytes)`; what the kernel does not tell is never 0.
  func text(_ count: Int64) -> String {
    if knownFiles == 0, !isComplete { return hiddenFiles > 0 ? "not permitted to know" : "not known" }
    return (isComplete ? "" : "at least ") + Figures.exact(count)
  }

  /// Files that are not in the sums, where there are some that are.
  var hidden: String? {
    guard !isComplete, knownFiles > 0 || hiddenFiles + unknownFiles > 1 else { return nil }
    var parts: [String] = []
    if hiddenFiles > 0 { parts.append("\(Figures.count(hiddenFiles, "file", "files")): not permitted to know") }
    if unknownFiles > 0 { parts.append("\(Figures.count(unknownFiles, "file", "files")): not known") }
    return parts.joined(separator: ", ")
  }
}

extension JSONWriter {
  mutating func add(_ key: String, _ bytes: DirtyBytes) {
    let isKnown = bytes.knownFiles > 0 || bytes.isComplete
    beginObject(key)
    add("waiting_bytes", isKnown ? bytes.waiting : nil)
    add("write_back_bytes", isKnown ? bytes.inWriteBack : nil)
    add("complete", bytes.isComplete)
    add("known_files", bytes.knownFiles)
    add("not_permitted_files", bytes.hiddenFiles)
    add("not_known_files", bytes.unknownFiles)
    endObject()
  }
}

extension Figures {
  /// `1.50 MiB (1,572,864 bytes)`; small ones by themselves.
  static func exact(_ count: Int64) -> String {
    count < 1024 ? bytes(count) : "\(bytes(count)) (\(grouped(count)) bytes)"
  }
}

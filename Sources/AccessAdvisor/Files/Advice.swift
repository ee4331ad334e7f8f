// SPDX-License-Identifier: Apache-2.0

internal import MemoryMapping

/// Turns a report's numbers into one sentence with the call to use.
///
/// Two ways that differ by less than a tenth count as equal: the machine's noise is of that size.
internal struct Advice {
  internal let sentence: String

  private static let clearly = 1.1

  internal init(_ file: FileDescription, _ results: [AccessResult], isCold: Bool) {
    sentence = Self.sentence(file, results, isCold)
  }

  private static func sentence(_ file: FileDescription, _ results: [AccessResult], _ isCold: Bool) -> String {
    if file.hazards.contains(where: { $0.code == .synthetic }) {
      return "Read it: FileBytes(path, access: .onceWhole). It cannot be mapped."
    }
    if file.facts.size == 0 { return "It is empty: every call works and costs no more than opening it." }
    guard let whole = results.first(where: { $0.access.kind == .wholeOnce }), let gain = advantage(of: whole)
    else { return "Nothing was measured, so there is no advice." }

    if let fileSystem = file.facts.fileSystem, fileSystem.prefersReading {
      return
        "Read it: FileBytes(path, access: .onceWhole). On \(fileSystem.name) a mapping was \(words(gain)) now, but it "
        + "can be slow and can lose pages."
    }
    let state = isCold ? "from the device" : "in memory"
    var parts: [String] = []
    if gain >= clearly {
      let isLoaded = whole.best?.strategy == .mapPopulate && lead(whole) >= clearly
      let call = isLoaded ? "MappedFile(path, options:) with populate = true" : "MappedFile(path).withBytes { … }"
      parts.append("Map it: \(call) is \(times(gain)) faster than reading for a whole pass \(state)")
    } else if 1 / gain >= clearly {
      parts.append(
        "Read it: FileBytes(path, access: .onceWhole).forEachChunk { … } is \(times(1 / gain)) faster than "
          + "mapping for a whole pass \(state)")
    } else {
      parts.append(
        "Map or read: a whole pass \(state) costs the same, and FileBytes(path, access: .onceWhole) takes care of it")
    }
    parts += exceptions(results, isMapping: gain >= clearly)
    return parts.joined(separator: "; ") + "."
  }

  /// Scattered reads where the other way wins, by the widest margin.
  private static func exceptions(_ results: [AccessResult], isMapping: Bool) -> [String] {
    let scattered: [(row: AccessResult, gain: Double)] = results.compactMap { row in
      guard !row.access.isPass, let gain = advantage(of: row) else { return nil }
      return (row, gain)
    }
    if isMapping {
      guard let widest = scattered.min(by: { $0.gain < $1.gain }), 1 / widest.gain >= clearly else { return [] }
      let call = "FileBytes(path, access: \(widest.row.access.patternSource))"
      return ["for \(count(widest.row)) use \(call), which reads them \(times(1 / widest.gain)) faster"]
    }
    guard let widest = scattered.max(by: { $0.gain < $1.gain }), widest.gain >= clearly else { return [] }
    return [
      "for \(count(widest.row)) map it: MappedFile(path).withBytes { … } is \(times(widest.gain)) faster than reading each"
    ]
  }

  private static func count(_ row: AccessResult) -> String {
    row.access.count <= Access.few ? "a dozen scattered reads or fewer" : "many scattered reads"
  }

  /// Time of the best reading divided by time of the best mapping.
  private static func advantage(of row: AccessResult) -> Double? {
    guard let mapped = row.bestMapped, let read = row.bestRead, mapped.medianNanoseconds > 0, read.medianNanoseconds > 0
    else { return nil }
    return Double(read.medianNanoseconds) / Double(mapped.medianNanoseconds)
  }

  /// How far loading ahead is in front of plain mapping.
  private static func lead(_ row: AccessResult) -> Double {
    guard let plain = row.cell(.map), let loaded = row.cell(.mapPopulate), loaded.medianNanoseconds > 0
    else { return 1 }
    return Double(plain.medianNanoseconds) / Double(loaded.medianNanoseconds)
  }

  private static func words(_ gain: Double) -> String {
    gain >= clearly ? "\(times(gain)) faster" : 1 / gain >= clearly ? "\(times(1 / gain)) slower" : "no faster"
  }

  /// A factor with two digits.
  internal static func times(_ factor: Double) -> String {
    let bounded = min(factor, 1e6)
    if bounded >= 10 { return "\(Int(bounded.rounded()))x" }
    let tenths = Int((bounded * 10).rounded())
    return "\(tenths / 10).\(tenths % 10)x"
  }
}

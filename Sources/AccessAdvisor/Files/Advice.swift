// SPDX-License-Identifier: Apache-2.0

internal import MemoryMapping

/// Turns a report's numbers into one sentence with the call to use.
///
/// Each factor is that of the call which is named, as it was measured, against the best of the other kind. Two ways that
/// differ by less than a tenth count as equal: the machine's noise is of that size.
internal struct Advice {
  internal let sentence: String

  private static let clearly = 1.1

  internal init(_ file: FileDescription, _ results: [AccessResult], isCold: Bool) {
    sentence = Self.sentence(file, results, isCold)
  }

  /// A call and its time.
  private struct Choice {
    let call: String
    let nanoseconds: Double
    let isMapping: Bool
  }

  private static func sentence(_ file: FileDescription, _ results: [AccessResult], _ isCold: Bool) -> String {
    if file.hazards.contains(where: { $0.code == .synthetic }) {
      return "Read it: FileBytes(path, access: .onceWhole). It cannot be mapped."
    }
    if file.facts.size == 0 { return "It is empty: every call works and costs no more than opening it." }
    guard let whole = results.first(where: { $0.access.kind == .wholeOnce }), let choice = choice(whole),
      let gain = gain(choice, whole)
    else { return "Nothing was measured, so there is no advice." }

    if let fileSystem = file.facts.fileSystem, fileSystem.prefersReading {
      return "Read it: FileBytes(path, access: .onceWhole). On \(fileSystem.name) a mapping can be slow and can lose "
        + "pages, whatever the table says."
    }
    let state = isCold ? "from the device" : "in memory"
    let first: String
    if gain >= clearly {
      first =
        choice.isMapping
        ? "Map it: \(choice.call) is \(times(gain)) faster than reading for a whole pass \(state)"
        : "Read it: \(choice.call) is \(times(gain)) faster than mapping for a whole pass \(state)"
    } else {
      first = "Map or read: a whole pass \(state) costs about the same; \(choice.call) will do"
    }
    let usual = gain >= clearly ? choice.isMapping : nil
    return ([first] + exception(results, usual: usual)).joined(separator: "; ") + "."
  }

  /// The scattered reads where another way than the usual one wins by the widest margin.
  private static func exception(_ results: [AccessResult], usual: Bool?) -> [String] {
    var widest: (row: AccessResult, choice: Choice, gain: Double)? = nil
    for row in results where !row.access.isPass {
      guard let choice = choice(row), choice.isMapping != usual, let gain = gain(choice, row), gain >= clearly,
        gain > widest?.gain ?? 0
      else { continue }
      widest = (row, choice, gain)
    }
    guard let widest else { return [] }
    return [
      "for \(widest.row.access.words) take \(widest.choice.call), \(times(widest.gain)) faster than "
        + (widest.choice.isMapping ? "reading" : "mapping")
    ]
  }

  /// The call to use for a row: of the kind that the fastest strategy is of.
  private static func choice(_ row: AccessResult) -> Choice? {
    guard let best = row.best, best.medianNanoseconds > 0 else { return nil }
    let limit = Double(best.medianNanoseconds) * clearly
    if isMapping(best.strategy) {
      if let plain = row.cell(.map), Double(plain.medianNanoseconds) <= limit {
        return Choice(
          call: "MappedFile(path).withBytes { … }", nanoseconds: Double(plain.medianNanoseconds), isMapping: true)
      }
      return Choice(
        call: "MappedFile(path, options:) with populate = true", nanoseconds: Double(best.medianNanoseconds),
        isMapping: true)
    }
    let opening = "FileBytes(path, access: \(row.access.patternSource)"
    if let chosen = row.chosen, !isMapping(chosen.strategy) {
      let pass = row.access.isPass ? ".forEachChunk { … }" : ""
      return Choice(
        call: opening + ")" + pass, nanoseconds: Double(chosen.medianNanoseconds), isMapping: false)
    }
    // The library would map it here: reading must be asked for.
    return Choice(
      call: opening + ", options:) with strategy = .\(best.strategy.rawValue)",
      nanoseconds: Double(best.medianNanoseconds), isMapping: false)
  }

  private static func isMapping(_ strategy: FileBytes.Strategy) -> Bool {
    strategy == .map || strategy == .mapPopulate
  }

  /// Time of the best of the other kind divided by the choice's time.
  private static func gain(_ choice: Choice, _ row: AccessResult) -> Double? {
    guard let other = choice.isMapping ? row.bestRead : row.bestMapped, choice.nanoseconds > 0 else { return nil }
    return Double(other.medianNanoseconds) / choice.nanoseconds
  }

  /// A factor with two digits.
  internal static func times(_ factor: Double) -> String {
    let bounded = min(factor, 1e6)
    if bounded >= 10 { return "\(Int(bounded.rounded()))x" }
    let tenths = Int((bounded * 10).rounded())
    return "\(tenths / 10).\(tenths % 10)x"
  }
}

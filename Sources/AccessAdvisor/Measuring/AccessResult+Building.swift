// SPDX-License-Identifier: Apache-2.0

internal import MemoryMapping

extension AccessResult {
  /// Puts the times of all ways into a row. Of two ways of one strategy the faster stands for it.
  internal init(
    _ access: Access, subject: Subject, ways: [Way], series: [Measurement.Series], decision: FileBytes.Decision?
  ) {
    var cells: [Cell] = []
    var own: (way: Way, series: Measurement.Series)? = nil
    for (way, series) in zip(ways, series) {
      guard let strategy = way.strategy else {
        own = (way, series)
        continue
      }
      // A pass over a part stands for the whole; scattered reads have done that by themselves.
      let scale = way.isExtrapolated && access.isPass ? subject.scale : 1
      let cell = Cell(strategy: strategy, way: way, series: series, scale: scale)
      if let index = cells.firstIndex(where: { $0.strategy == strategy }) {
        if cell.medianNanoseconds < cells[index].medianNanoseconds { cells[index] = cell }
      } else {
        cells.append(cell)
      }
    }
    self.access = access
    self.cells = cells
    self.chosen = Self.chosen(access, subject, own, decision, cells)
  }

  private static func chosen(
    _ access: Access, _ subject: Subject, _ own: (way: Way, series: Measurement.Series)?,
    _ decision: FileBytes.Decision?, _ cells: [Cell]
  ) -> Chosen? {
    if let own, let decision {
      let scale = own.way.isExtrapolated ? subject.scale : 1
      // A forced strategy (of a sampled file) has no reason of its own; the plan's is the true one.
      let sentence = subject.isSampled ? subject.plannedDecision(access).sentence : decision.sentence
      return Chosen(
        strategy: decision.strategy, call: own.way.method + subject.scope(access, decision.strategy),
        sentence: sentence,
        medianNanoseconds: UInt64(Double(own.series.median) * scale), rounds: own.series.times.count, isMeasured: true,
        isExtrapolated: own.way.isExtrapolated)
    }
    let planned = subject.plannedDecision(access)
    guard let cell = cells.first(where: { $0.strategy == planned.strategy }) else { return nil }
    return Chosen(
      strategy: planned.strategy,
      call: "FileBytes(path, access: \(access.patternSource))" + subject.scope(access, planned.strategy),
      sentence: planned.sentence, medianNanoseconds: cell.medianNanoseconds, rounds: cell.rounds, isMeasured: false,
      isExtrapolated: cell.isExtrapolated)
  }
}

extension AccessResult.Cell {
  internal init(strategy: FileBytes.Strategy, way: Way, series: Measurement.Series, scale: Double) {
    func scaled(_ time: UInt64) -> UInt64 { scale == 1 ? time : UInt64(Double(time) * scale) }
    self.init(
      strategy: strategy, method: way.method, medianNanoseconds: scaled(series.median),
      fastestNanoseconds: scaled(series.times.min() ?? 0), slowestNanoseconds: scaled(series.times.max() ?? 0),
      rounds: series.times.count, isExtrapolated: way.isExtrapolated)
  }
}

extension Subject {
  /// What follows the opening in the text of a call.
  internal func scope(_ access: Access, _ strategy: FileBytes.Strategy) -> String {
    usesScope(access, strategy) ? ".withBytes { … }" : ""
  }
}

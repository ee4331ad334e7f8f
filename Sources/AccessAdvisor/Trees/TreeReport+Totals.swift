// SPDX-License-Identifier: Apache-2.0

internal import MemoryMapping
internal import PageCache

extension TreeReport.Total {
  /// Sums of the classes; nil when no class was measured.
  internal init?(_ classes: [TreeReport.SizeClass]) {
    let results = classes.compactMap { $0.sample?.result }
    guard !results.isEmpty else { return nil }
    func seconds(_ time: (AccessResult) -> UInt64?) -> Double {
      results.reduce(0) { $0 + Double(time($1) ?? 0) / 1e9 }
    }
    self.init(
      alwaysMap: seconds { $0.cell(.map)?.medianNanoseconds },
      alwaysMapPopulate: seconds { $0.cell(.mapPopulate)?.medianNanoseconds },
      alwaysRead: seconds { $0.cell(.read)?.medianNanoseconds },
      alwaysStream: seconds { $0.cell(.stream)?.medianNanoseconds },
      chosen: seconds { $0.chosen?.medianNanoseconds }, best: seconds { $0.best?.medianNanoseconds })
  }
}

extension TreeReport {
  internal static func advice(_ walk: Walk, _ classes: [SizeClass], _ total: Total?) -> String {
    if walk.files == 0 { return "There is no file in it." }
    guard let total, total.chosen > 0 else { return "Nothing was measured, so there is no advice." }
    let mapped = classes.reduce(0) { $0 + $1.wouldMap }
    let mapping = min(total.alwaysMap, total.alwaysMapPopulate) / total.chosen
    let reading = min(total.alwaysRead, total.alwaysStream) / total.chosen
    let split =
      mapped == 0
      ? "it reads all of them"
      : mapped == walk.files
        ? "it maps all of them" : "it maps \(Access.grouped(mapped)) and reads \(Access.grouped(walk.files - mapped))"
    return "Open each file with FileBytes(path, access: .onceWhole): \(split), and a pass over all is "
      + "\(compare(mapping)) always mapping and \(compare(reading)) always reading."
  }

  private static func compare(_ factor: Double) -> String {
    if factor >= 1.05 { return "\(Advice.times(factor)) faster than" }
    if factor <= 0.95 { return "\(Advice.times(1 / factor)) slower than" }
    return "as fast as"
  }
}

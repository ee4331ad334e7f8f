// SPDX-License-Identifier: Apache-2.0

internal import Synchronization

extension FileBytes {
  /// Where the cost figures of a choice come from.
  public enum CalibrationSource: Sendable, Hashable {
    /// The built-in figures; for work of some milliseconds and more those that were measured on this machine, if there are any;
    /// for work of a tenth of a second and more they are measured when there are none, once, in some 30 ms.
    case automatic
    /// ``Calibration/builtIn``, whatever was measured. Never touches the cache folder.
    case builtIn
    /// These.
    case fixed(Calibration)

    /// Without a look at the disk.
    internal var figures: Calibration {
      switch self {
      case .automatic: Calibration.known
      case .builtIn: .builtIn
      case .fixed(let calibration): calibration.isPlausible ? calibration : .builtIn
      }
    }

    /// With the effort that the planned work is worth.
    internal func figures(for plan: Plan) -> Calibration {
      guard self == .automatic, let estimates = plan.estimates else { return figures }
      let work = estimates[plan.strategy]
      if work >= 0.1 { return Calibration.stored(measuring: true) }
      if work >= 0.002 { return Calibration.stored(measuring: false) }
      return figures
    }
  }
}

extension Calibration {
  private struct Shared: Sendable {
    var figures = Calibration.builtIn
    var isKnown = false
    var hasLoaded = false
    var hasMeasured = false
  }
  private static let shared = Mutex(Shared())
  /// Set once figures are there, so that the small files need no lock.
  private static let isKnown = Atomic<Bool>(false)

  /// The figures that this process has already, without work; the built-in ones before.
  internal static var known: Calibration {
    isKnown.load(ordering: .acquiring) ? shared.withLock { $0.figures } : builtIn
  }

  /// The stored figures of this machine; measured and stored where `measuring` and there are none; else the built-in ones. At
  /// most one attempt at each in a process.
  internal static func stored(measuring: Bool) -> Calibration {
    if isKnown.load(ordering: .acquiring) { return known }
    shared.withLock { shared in
      guard !shared.isKnown, !shared.hasLoaded || (measuring && !shared.hasMeasured), let machine = Machine.current
      else { return }
      if !shared.hasLoaded {
        shared.hasLoaded = true
        if let loaded = CalibrationStore.load(for: machine, in: CalibrationStore.folder) {
          shared.figures = loaded
          shared.isKnown = true
        }
      }
      if !shared.isKnown, measuring {
        shared.hasMeasured = true
        if let measured = try? Calibration.measured() {
          shared.figures = measured
          shared.isKnown = true
          // Without a folder to write to the figures serve this process alone.
          try? CalibrationStore.save(measured, for: machine, in: CalibrationStore.folder)
        }
      }
      isKnown.store(shared.isKnown, ordering: .releasing)
    }
    return known
  }
}

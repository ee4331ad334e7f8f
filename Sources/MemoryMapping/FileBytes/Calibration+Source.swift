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
      case .automatic: Calibration.known ?? .builtIn
      case .builtIn: .builtIn
      case .fixed(let calibration): calibration.isPlausible ? calibration : .builtIn
      }
    }

    /// With the effort that the planned work is worth.
    internal func figures(for plan: Plan) -> Calibration {
      guard self == .automatic, let estimates = plan.estimates else { return figures }
      let work = estimates[plan.strategy]
      if work >= 0.1 { return Calibration.stored(measuring: true) ?? .builtIn }
      if work >= 0.002 { return Calibration.stored(measuring: false) ?? .builtIn }
      return figures
    }
  }
}

extension Calibration {
  private struct Shared: Sendable {
    var figures: Calibration? = nil
    var hasLoaded = false
    var hasMeasured = false
  }
  private static let shared = Mutex(Shared())
  /// Set once figures are there, so that the small files need no lock.
  private static let isKnown = Atomic<Bool>(false)

  /// The figures that this process has already, without work.
  internal static var known: Calibration? {
    guard isKnown.load(ordering: .acquiring) else { return nil }
    return shared.withLock { $0.figures }
  }

  /// The stored figures of this machine; measured and stored where `measuring` and there are none. At most one attempt at
  /// each in a process.
  internal static func stored(measuring: Bool) -> Calibration? {
    if let known { return known }
    return shared.withLock { shared in
      if shared.figures != nil { return shared.figures }
      let machine = (!shared.hasLoaded || (measuring && !shared.hasMeasured)) ? Machine.current : nil
      guard let machine else { return nil }
      if !shared.hasLoaded {
        shared.hasLoaded = true
        shared.figures = CalibrationStore.load(for: machine)
      }
      if shared.figures == nil, measuring, !shared.hasMeasured {
        shared.hasMeasured = true
        if let measured = try? Calibration.measured() {
          shared.figures = measured
          // Without a folder to write to the figures serve this process alone.
          try? CalibrationStore.save(measured, for: machine)
        }
      }
      if shared.figures != nil { isKnown.store(true, ordering: .releasing) }
      return shared.figures
    }
  }
}

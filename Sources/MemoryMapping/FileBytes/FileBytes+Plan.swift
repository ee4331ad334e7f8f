// SPDX-License-Identifier: Apache-2.0

internal import SystemPackage

extension FileBytes {
  /// The choice itself, without the words: a few machine words, made for every file. ``Decision`` is built from it when
  /// somebody asks.
  internal struct Plan: Sendable, Hashable {
    internal var strategy: Strategy
    internal var reason: Reason
    /// The whole content goes into one buffer.
    internal var isWholeBuffer: Bool
    /// Single reads after which it is looked at again whether mapping pays; `Int.max` for never.
    internal var reviewAfter = Int.max
    internal var estimates: CostModel.Estimates? = nil
  }

  /// Why a strategy was taken.
  internal enum Reason: Sendable, Hashable {
    case asked
    /// Not a file: its bytes come once, in order.
    case notSeekable
    case empty
    /// No true size: /proc and its like.
    case synthetic
    case fileSystem
    /// So small that the choice would cost more than it saves.
    case small
    case cheapest
    /// Nobody knows how many reads will follow.
    case countUnknown
    case noAddressSpace
    case noMemory
    case mappingFailed(MappingError.Code, Errno?)
    /// The number of reads showed that mapping pays.
    case switched(after: Int)
    /// The first reads found the file not in memory.
    case foundCold(after: Int)
  }

  /// Files up to this size are read in one call without a further question when every byte is wanted.
  internal static let smallFile: Int64 = 16 << 10
  /// Single reads before the first look back. Mapping costs more than these at any size.
  internal static let firstReview = 12
  /// Room that a mapping leaves in the address space for everything else.
  internal static let addressSpaceReserve: Int64 = 16 << 20

  /// The rules, in order: what cannot be mapped, what should not be, what is too small to matter, and then the cheapest.
  internal static func plan(_ facts: FileFacts, _ access: AccessPattern, _ calibration: Calibration) -> Plan {
    let isPass = access.scattered == nil
    switch facts.type {
    case .pipe, .socket, .characterDevice, .directory, .other:
      return Plan(
        strategy: isPass && access == .sequential ? .stream : .read, reason: .notSeekable, isWholeBuffer: true)
    case .regular, .blockDevice: break
    }
    if facts.hasContentWithoutSize || facts.fileSystem?.nature == .synthetic {
      return Plan(strategy: .read, reason: .synthetic, isWholeBuffer: true)
    }
    if facts.size == 0 { return Plan(strategy: .read, reason: .empty, isWholeBuffer: true) }
    if isPass, facts.size <= smallFile { return Plan(strategy: .read, reason: .small, isWholeBuffer: true) }
    if facts.fileSystem?.prefersReading == true {
      return reading(facts, access, calibration, reason: .fileSystem)
    }
    return cheapest(facts, access, calibration)
  }

  /// The best plan without a mapping.
  internal static func reading(
    _ facts: FileFacts, _ access: AccessPattern, _ calibration: Calibration, reason: Reason
  ) -> Plan {
    let model = CostModel(facts: facts, calibration: calibration)
    let estimates = model.estimates(access)
    let fitsMemory = facts.memoryRoom.map { facts.size <= $0 / 2 } ?? true
    let isStreamed =
      access.scattered == nil && facts.size > CostModel.keptBuffer && (access != .onceWhole || !fitsMemory)
    return Plan(
      strategy: isStreamed ? .stream : .read, reason: reason, isWholeBuffer: !isStreamed && estimates.isWholeBuffer,
      estimates: estimates)
  }

  private static func cheapest(
    _ facts: FileFacts, _ access: AccessPattern, _ calibration: Calibration
  ) -> Plan {
    let model = CostModel(facts: facts, calibration: calibration)
    let canMap =
      Int(exactly: facts.size) != nil
      && facts.addressSpaceRoom.map { facts.size <= $0 - addressSpaceReserve } ?? true
    if !canMap { return reading(facts, access, calibration, reason: .noAddressSpace) }

    // To load more than half of what is free would push out somebody else's pages, or our own.
    let fitsMemory = facts.memoryRoom.map { facts.size <= $0 / 2 } ?? true
    if let scattered = access.scattered {
      return scatteredPlan(model, scattered.size, scattered.count, fitsMemory: fitsMemory, access)
    }
    var estimates = model.estimates(access)
    if !fitsMemory {
      estimates.mapPopulate = .infinity
      estimates.read = .infinity
    }
    let best = estimates.best()
    return Plan(
      strategy: best, reason: fitsMemory ? .cheapest : .noMemory, isWholeBuffer: best == .read, estimates: estimates)
  }

  private static func scatteredPlan(
    _ model: CostModel, _ readSize: Int, _ count: Int?, fitsMemory: Bool, _ access: AccessPattern
  ) -> Plan {
    guard let count else {
      // The classic answer to an unknown end: pay as you go until you have paid once for the other way.
      var estimates = model.scattered(readSize: readSize, count: 1)
      let isTiny = model.byteCount <= smallFile && model.missing == 0
      estimates.isWholeBuffer = isTiny
      return Plan(
        strategy: .read, reason: .countUnknown, isWholeBuffer: isTiny,
        reviewAfter: isTiny ? .max : firstReview, estimates: estimates)
    }
    var estimates = model.scattered(readSize: readSize, count: Double(count))
    if !fitsMemory { estimates.mapPopulate = .infinity }
    let best = estimates.best()
    let isReading = best == .read || best == .stream
    // A stated count can be too low; more reads than mapping would have cost switch as if it were unknown.
    let isOpen = isReading && !estimates.isWholeBuffer
    return Plan(
      strategy: isReading ? .read : best, reason: fitsMemory ? .cheapest : .noMemory,
      isWholeBuffer: isReading && estimates.isWholeBuffer,
      reviewAfter: isOpen ? max(count, firstReview) : .max, estimates: estimates)
  }
}

extension CostModel.Estimates {
  /// The cheapest; of equals the one that holds fewest resources: reading before streaming before mapping.
  internal func best() -> FileBytes.Strategy {
    var best = FileBytes.Strategy.read
    for other in [FileBytes.Strategy.stream, .map, .mapPopulate] where self[other] < self[best] { best = other }
    return best
  }
}

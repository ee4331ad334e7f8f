// SPDX-License-Identifier: Apache-2.0

internal import CPlatform
internal import Synchronization
internal import SystemPackage

extension FileBytes {
  /// From this size on, it pays to ask what is in memory before a pass. Below, the answer would not change the choice.
  internal static let residencyMatters: Int64 = 2 << 20
  /// From this size on, it pays to ask how many pages a fault maps. The kernel aligns mappings of 2 MiB and more so that a
  /// fault can map a whole folio; below, it is luck.
  internal static let folioMatters: Int64 = 2 << 20
  /// From this size on, free memory is asked.
  internal static let memoryMatters: Int64 = 256 << 20

  /// Asks for the facts that can matter for a file of this size, chooses, and does the first step: maps it, or reads it into
  /// the buffer.
  internal mutating func choose(device: UInt64) throws(MappingError) {
    let calibration = options.calibration.figures
    let isPass = access.scattered == nil
    if let asked = options.strategy {
      plan = Plan(
        strategy: asked, reason: .asked,
        isWholeBuffer: asked == .read
          && (isPass || CostModel(facts: facts, calibration: calibration).estimates(access).isWholeBuffer))
    } else {
      plan = Self.plan(facts, access, calibration)
      if isWorthAsking(calibration) {
        askMore(device: device)
        plan = Self.plan(facts, access, options.calibration.figures(for: plan))
        try sampleFaults(options.calibration.figures(for: plan))
      }
    }
    late.reviewAt.store(plan.reviewAfter, ordering: .relaxed)
    switch plan.strategy {
    case .map, .mapPopulate: if !late.isMapped { try startMapping() }
    case .read where plan.isWholeBuffer && !isPass: try fillBuffer()
    case .read, .stream: break
    }
  }

  /// False where no fact could change the plan, or none that costs less than it saves.
  private func isWorthAsking(_ calibration: Calibration) -> Bool {
    if plan.strategy.maps || (access.scattered == nil && facts.size >= Self.folioMatters) { return true }
    guard facts.size > CostModel.keptBuffer, let estimates = plan.estimates else { return false }
    // A few single reads: they will be over before a mapping has begun.
    return access.scattered == nil || estimates[plan.strategy] > 20 * calibration.mapping
  }

  /// Facts that cost a system call each, where they can matter.
  private mutating func askMore(device: UInt64) {
    if FileFacts.mayBeSpecial(device: device) { facts.askFileSystem(descriptor) }
    if facts.fileSystem?.prefersReading == true { return }
    facts.addressSpaceRoom = MemoryRoom.addressSpace
    if facts.size >= Self.memoryMatters { facts.memoryRoom = MemoryRoom.bytes }
    if access.scattered != nil || facts.size >= Self.residencyMatters { facts.askResidency(descriptor) }
  }

  /// Looks how many pages a fault maps where that decides: between faults and loading ahead, or, for scattered access, between
  /// mapping and reading. The mapping made for it is kept when it is the choice.
  private mutating func sampleFaults(_ calibration: Calibration) throws(MappingError) {
    guard plan.reason == .cheapest, facts.size >= Self.folioMatters, facts.residentFraction ?? 1 > 0.9 else { return }
    if !plan.strategy.maps {
      var huge = facts
      huge.pagesPerFault = 512
      guard Self.plan(huge, access, calibration).strategy.maps else { return }
    }
    guard let map = try? map() else { return }
    if let sample = FileFacts.sampleFaults(map) {
      facts.pagesPerFault = sample.pages
      facts.faultSeconds = sample.seconds
    }
    plan = Self.plan(facts, access, calibration)
    if plan.strategy.maps { finishMapping(map) }
  }

  /// Maps as planned; on failure reads, and the decision says so.
  private mutating func startMapping() throws(MappingError) {
    do throws(MappingError) {
      let map = try map()
      finishMapping(map)
    } catch {
      // A file that shrank meanwhile is an error of its own, not a reason to go on.
      if error.code == .truncated || error.code == .invalidRange { throw error }
      plan = Self.reading(
        facts, access, options.calibration.figures, reason: .mappingFailed(error.code, error.errno))
      if plan.isWholeBuffer, access.scattered != nil { try fillBuffer() }
    }
  }

  private mutating func finishMapping(_ map: consuming MappedFile) {
    // A page that cannot be loaded now is found again, with its error, by whoever reads it.
    if plan.strategy == .mapPopulate { try? map.prefault() }
    late.publish(map)
  }

  /// Maps the bytes that the file had at opening.
  internal borrowing func map() throws(MappingError) -> MappedFile {
    guard let length = Int(exactly: size) else {
      throw MappingError(.addressSpaceExhausted, operation: .map, path: path, length: size)
    }
    let file = try OpenedFile(duplicating: descriptor, path: path)
    // Cut since then: the bytes that are gone must not look like a choice.
    if file.kind == .regular, file.stat.size < size {
      throw truncatedError(at: file.stat.size, wanted: size - file.stat.size)
    }
    return try MappedFile(file, offset: 0, length: length, options: .init(), path: path)
  }

  /// As many single reads as were planned: from how many on does mapping pay? The answer is the next point to look at, and
  /// there the file is mapped.
  @inline(never)
  internal borrowing func review(after reads: Int) {
    guard let scattered = access.scattered, options.strategy == nil, facts.fileSystem?.prefersReading != true else {
      return late.reviewAt.store(.max, ordering: .relaxed)
    }
    let pays =
      CostModel(facts: facts, calibration: options.calibration.figures).breakEven(readSize: scattered.size) ?? .max
    guard reads >= pays else { return late.reviewAt.store(pays, ordering: .relaxed) }
    late.reviewAt.store(.max, ordering: .relaxed)
    var later = plan
    later.strategy = .map
    later.reason = .switched(after: reads)
    switchToMapping(later)
  }

  /// Single reads have shown that mapping pays, or that the file is not in memory: maps it unless somebody else does so now.
  @inline(never)
  internal borrowing func switchToMapping(_ plan: Plan) {
    guard options.strategy == nil, late.claim() else { return }
    var plan = plan
    if let map = try? map() {
      if plan.strategy == .mapPopulate { try? map.prefault() }
      late.publish(map)
    } else {
      plan.strategy = .read
      plan.reason = .mappingFailed(.addressSpaceExhausted, nil)
      plan.isWholeBuffer = false
    }
    late.change.withLock { $0 = plan }
  }

  /// The first reads missed the page cache: with what is known now, is it better to load the file as a whole?
  @inline(never)
  internal borrowing func reconsiderCold(after reads: Int) {
    guard let scattered = access.scattered, options.strategy == nil else { return }
    var cold = facts
    cold.askResidency(descriptor)
    if cold.residentFraction ?? 1 > 0.9 { cold.residentFraction = 0.5 }
    guard let count = scattered.count else { return }
    let rest = max(0, count - reads)
    let estimates = CostModel(facts: cold, calibration: options.calibration.figures)
      .scattered(readSize: scattered.size, count: Double(rest))
    let best = estimates.best()
    var plan = self.plan
    plan.estimates = estimates
    plan.reason = .foundCold(after: reads)
    if best.maps || estimates.isWholeBuffer {
      plan.strategy = best.maps ? best : .mapPopulate
      plan.isWholeBuffer = false
      switchToMapping(plan)
    } else {
      late.change.withLock { $0 = plan }
    }
  }
}

extension FileBytes.Strategy {
  internal var maps: Bool { self == .map || self == .mapPopulate }
}

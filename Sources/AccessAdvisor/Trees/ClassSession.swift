// SPDX-License-Identifier: Apache-2.0

internal import CPlatform
internal import MemoryMapping
internal import PageCache
internal import SystemPackage

/// Measures the sample of one size class: every way runs over all its files.
internal struct ClassSession {
  internal let options: TreeAdvisor.Options
  internal let log: FileSession.EvictionLog
  internal let isCancelled: () -> Bool
  /// Files of the sample that could not be read.
  internal private(set) var failures: [MappingError] = []

  internal init(options: TreeAdvisor.Options, log: FileSession.EvictionLog, isCancelled: @escaping () -> Bool) {
    self.options = options
    self.log = log
    self.isCancelled = isCancelled
  }

  /// Of a large file in a sample only the beginning is used.
  private static let largestWindow: Int64 = 32 << 20

  /// False when it was cancelled.
  internal mutating func measure(
    _ found: inout TreeReport.SizeClass, _ paths: [FilePath], budget: UInt64
  ) -> Bool {
    let start = pgw_now_ns()
    var subjects: [Subject] = []
    var resident = 0.0
    var known: Int64 = 0
    for path in paths {
      if isCancelled() { return false }
      // Slow devices: a smaller sample.
      if !subjects.isEmpty, pgw_now_ns() - start > budget / 4 { break }
      do throws(MappingError) {
        guard let subject = try prepare(path) else { continue }
        if let share = subject.facts.residentFraction {
          resident += share * Double(subject.size)
          known += subject.size
        }
        subjects.append(subject)
      } catch {
        if error.code != .notFound { failures.append(error) }
      }
    }
    if known > 0 { found.residentFraction = resident / Double(known) }
    guard !subjects.isEmpty else { return true }
    let bytes = subjects.reduce(0) { $0 + $1.window }
    let spent = pgw_now_ns() - start
    do throws(MappingError) {
      let scale = scale(found, subjects, bytes)
      guard let result = try measure(subjects, scale: scale, budget: budget > spent ? budget - spent : 0) else {
        return false
      }
      found.sample = TreeReport.Sample(files: subjects.count, bytes: bytes, result: result)
    } catch {
      failures.append(error)
    }
    return true
  }

  /// From the sample to the class: by number where opening dominates, by bytes where reading does.
  private func scale(_ found: TreeReport.SizeClass, _ subjects: [Subject], _ bytes: Int64) -> Double {
    (found.upperBound ?? .max) <= Access.smallFile
      ? Double(found.files) / Double(subjects.count) : Double(found.bytes) / Double(bytes)
  }

  /// Looks at one file and brings what is used of it into memory. Nil for files that have become empty or special.
  private func prepare(_ path: FilePath) throws(MappingError) -> Subject? {
    guard EntryKind(mode: try EntryKind.stat(path, follows: options.followsLinks).mode) == .regular else { return nil }
    let file = try ObservedFile(path)
    let stat = try file.stat(path)
    let facts = try FileFacts(asking: file.descriptor)
    var subject = Subject(path, facts: facts, stat: stat)
    guard facts.type == .regular, facts.size > 0, !subject.isSynthetic else { return nil }
    subject.window = min(facts.size, Self.largestWindow)
    let buffer = UnsafeMutableRawBufferPointer.allocate(byteCount: Subject.streamPiece, alignment: 64)
    defer { unsafe buffer.deallocate() }
    var at: Int64 = 0
    while at < subject.window, !isCancelled() {
      let length = Int(min(Int64(Subject.streamPiece), subject.window - at))
      unsafe try file.read(at, into: buffer.baseAddress!, count: length, path: path)
      at += Int64(length)
    }
    return subject
  }

  private func measure(
    _ subjects: [Subject], scale: Double, budget: UInt64
  ) throws(MappingError) -> AccessResult? {
    let evictAll = { [log] in
      for subject in subjects {
        if let file = try? ObservedFile(subject.path) { evict(file.number, subject.size, log) }
      }
    }
    let ways = ways(subjects)
    let measurement = Measurement(
      ways: ways, evict: options.isCold ? evictAll : nil, isCancelled: isCancelled, comparesChecksums: true,
      seed: options.seed)
    let probe = DecisionProbe()
    do throws(Measurement.Failure) {
      guard let series = try measurement.run(budget: budget, probe: probe) else { return nil }
      return AccessResult(files: subjects.count, ways: ways, series: series, scale: scale, decision: probe.decision)
    } catch {
      switch error {
      case .mapping(let error): throw error.whileMeasuring
      case .disagreement:
        throw MappingError(
          .changed, operation: .init("measure"), path: subjects[0].path,
          detail: .note("a file of the sample changed meanwhile"))
      }
    }
  }

  /// The ways of one file, each run over all files.
  private func ways(_ subjects: [Subject]) -> [Way] {
    let accesses = subjects.map { Access(kind: .wholeOnce, count: 1, readSize: Int(clamping: $0.size)) }
    let fixed = zip(subjects, accesses).map { $0.fixedWays($1) }
    // A file whose chosen way would load all of it stands here with that strategy over its beginning.
    let chosen: [Way] = subjects.indices.compactMap { index in
      let subject = subjects[index]
      if let way = subject.chosenWay(accesses[index]) { return way }
      let planned = subject.plannedDecision(accesses[index]).strategy
      return fixed[index].first { $0.strategy == planned }
    }
    var ways: [Way] = fixed[0].indices.map { number in
      Way.sum(fixed.map { $0[number] }, strategy: fixed[0][number].strategy, method: fixed[0][number].method)
    }
    ways.append(Way.sum(chosen, strategy: nil, method: "FileBytes(path, access: .onceWhole)"))
    return ways
  }
}

extension Way {
  /// One way after the other, as one.
  fileprivate static func sum(_ parts: [Way], strategy: FileBytes.Strategy?, method: String) -> Way {
    Way(strategy: strategy, method: method) { seed, probe throws(MappingError) in
      var sum: UInt64 = 0
      var leftOut: UInt64 = 0
      for part in parts {
        let one = try part.run(seed, probe)
        sum = sum &* 31 &+ (one.checksum ?? 0)
        leftOut += one.leftOut
      }
      return Outcome(checksum: sum, leftOut: leftOut)
    }
  }
}

extension AccessResult {
  /// The row of a size class.
  fileprivate init(
    files: Int, ways: [Way], series: [Measurement.Series], scale: Double, decision: FileBytes.Decision?
  ) {
    access = Access(kind: .wholeOnce, count: files, readSize: 0)
    cells = zip(ways, series).compactMap { way, series in
      way.strategy.map { Cell(strategy: $0, way: way, series: series, scale: scale) }
    }
    var chosen: Chosen? = nil
    for (way, series) in zip(ways, series) where way.strategy == nil {
      guard let decision else { continue }
      chosen = Chosen(
        strategy: decision.strategy, call: way.method, sentence: decision.sentence,
        medianNanoseconds: UInt64(Double(series.median) * scale), rounds: series.times.count, isMeasured: true,
        isExtrapolated: scale != 1)
    }
    self.chosen = chosen
  }
}

// SPDX-License-Identifier: Apache-2.0

internal import CPlatform
internal import MemoryMapping
internal import PageCache
internal import SystemPackage

#if canImport(Glibc)
  internal import Glibc
#elseif canImport(Musl)
  internal import Musl
#elseif canImport(Darwin)
  internal import Darwin
#endif

/// One file being measured: the time that is left, and what has happened.
internal struct FileSession {
  internal var subject: Subject
  internal let options: FileAdvisor.Options
  /// When the work on this file began, in nanoseconds of the monotonic clock.
  internal let start: UInt64
  internal let isCancelled: () -> Bool
  private let log = EvictionLog()
  private var wasCancelled = false
  private var manyCold = Access.mostCold

  internal init(subject: Subject, options: FileAdvisor.Options, start: UInt64, isCancelled: @escaping () -> Bool) {
    self.subject = subject
    self.options = options
    self.start = start
    self.isCancelled = isCancelled
  }

  /// What evictions left behind; a class, since it is filled in from a closure.
  internal final class EvictionLog {
    internal var eviction = FileReport.Eviction()
  }

  /// The limits of ``FileAdvisor/Options/seconds`` that make sense.
  internal static func nanoseconds(_ seconds: Double) -> UInt64 {
    UInt64(min(max(seconds.isFinite ? seconds : 5, 0.02), 86_400) * 1e9)
  }

  internal mutating func measure(
    _ file: borrowing ObservedFile, progress: (Double, String) -> Void
  ) throws(MappingError) -> [AccessResult] {
    let budget = Self.nanoseconds(options.seconds)
    if !subject.isSynthetic {
      guard subject.size > 0 else { return [] }
      progress(0, "first look")
      subject.window = try trialPass(file, limit: budget / 8)
      // What a fault maps shows only once the file is in memory.
      if options.isCold {
        subject.scattersEverywhere = true
        manyCold = try countOfColdPlaces(file, budget: budget)
      } else if let warm = try? FileFacts(asking: file.descriptor), warm.size == subject.size {
        subject.facts = warm
      }
    }
    let rows =
      subject.isSynthetic
      ? [Access(kind: .wholeOnce, count: 1, readSize: 0)]
      : Access.rows(size: subject.size, isCold: options.isCold, manyCold: manyCold)
    var results: [AccessResult] = []
    for (index, access) in rows.enumerated() {
      if isCancelled() {
        wasCancelled = true
        break
      }
      progress(Double(index) / Double(rows.count), access.title)
      let spent = pgw_now_ns() - start
      // At least a moment for each, however long the others took.
      let left = max(budget > spent ? budget - spent : 0, budget / 50) / UInt64(rows.count - index)
      guard let result = try measure(access, file, budget: left) else {
        wasCancelled = true
        break
      }
      results.append(result)
    }
    return results
  }

  private func measure(
    _ access: Access, _ file: borrowing ObservedFile, budget: UInt64
  ) throws(MappingError) -> AccessResult? {
    var ways = subject.fixedWays(access)
    if let chosen = subject.chosenWay(access) { ways.append(chosen) }
    let number = file.number
    let measurement = Measurement(
      ways: ways, evict: options.isCold ? { [log, subject] in evict(number, subject.size, log) } : nil,
      isCancelled: isCancelled, comparesChecksums: !subject.isSynthetic, seed: options.seed)
    let probe = DecisionProbe()
    do throws(Measurement.Failure) {
      guard let series = try measurement.run(budget: budget, probe: probe) else { return nil }
      return AccessResult(access, subject: subject, ways: ways, series: series, decision: probe.decision)
    } catch {
      // A file that became shorter explains whatever else was seen.
      if let shrunk = try subject.shrunk(file) { throw shrunk }
      switch error {
      case .mapping(let error): throw error.whileMeasuring
      case .disagreement:
        throw MappingError(
          .changed, operation: .init("measure"), path: subject.path,
          detail: .note("two ways of reading saw different bytes"))
      }
    }
  }

  /// Reads from the start for as long as allowed; what was reached is the part that passes are measured on. For a warm
  /// measurement this brings it into memory.
  private func trialPass(_ file: borrowing ObservedFile, limit: UInt64) throws(MappingError) -> Int64 {
    if options.isCold { evict(file.number, subject.size, log) }
    let share = Double(Self.nanoseconds(options.seconds)) / 1e9
    let cap = Int64(share * Double(options.isCold ? 16 << 20 : 48 << 20))
    let room = subject.facts.memoryRoom.map { $0 / 4 } ?? .max
    let end = min(subject.size, max(1 << 20, min(cap, room)))
    let piece = 1 << 20
    let buffer = UnsafeMutableRawBufferPointer.allocate(byteCount: piece, alignment: 64)
    defer { unsafe buffer.deallocate() }
    let begin = pgw_now_ns()
    var at: Int64 = 0
    while at < end {
      let length = Int(min(Int64(piece), end - at))
      do throws(MappingError) {
        unsafe try file.read(at, into: buffer.baseAddress!, count: length, path: subject.path)
      } catch {
        throw try subject.shrunk(file) ?? error
      }
      at += Int64(length)
      if isCancelled() || pgw_now_ns() - begin > limit { break }
    }
    return at
  }

  /// How many cold places can be read in the time for a row, by the time that a few take.
  private func countOfColdPlaces(_ file: borrowing ObservedFile, budget: UInt64) throws(MappingError) -> Int {
    evict(file.number, subject.size, log)
    var places = RandomPlaces(seed: options.seed)
    var byte: UInt8 = 0
    let tries = 8
    let begin = pgw_now_ns()
    for _ in 0..<tries {
      do throws(MappingError) {
        unsafe try file.read(places.next(below: subject.size), into: &byte, count: 1, path: subject.path)
      } catch {
        throw try subject.shrunk(file) ?? error
      }
    }
    let each = max(1, (pgw_now_ns() - begin) / UInt64(tries))
    // Two such rows of six, five ways, two rounds.
    return Int(min(max(budget / 60 / each, UInt64(Access.leastCold)), UInt64(Access.mostCold)))
  }

  /// Looks whether the file is still the one that was measured.
  internal func finish(
    _ file: borrowing ObservedFile, hazards: inout [Hazard]
  ) throws(MappingError) -> FileReport.Measuring {
    if !subject.isSynthetic {
      if let shrunk = try subject.shrunk(file) { throw shrunk }
      let now = Subject.Identity(try file.stat(subject.path))
      if now.size > subject.size {
        hazards.append(
          Hazard(
            code: .growing,
            sentence:
              "It grew by \(Access.grouped(Int(clamping: now.size - subject.size))) bytes while it was measured: a mapping covers what was there "
              + "when it was made."))
      } else if now.modified != subject.identity.modified {
        hazards.append(
          Hazard(code: .changing, sentence: "It was written to while it was measured, with the bytes that were there."))
      }
    }
    if subject.isSampled {
      hazards.append(
        Hazard(code: .sampled, sentence: "Measured on its beginning only; times for the whole are extrapolated."))
    }
    if options.isCold, subject.size > 0, log.eviction.pagesThatStayed ?? 0 > 0 {
      hazards.append(
        Hazard(
          code: .notEvicted,
          sentence:
            "Up to \(Access.grouped(Int(clamping: log.eviction.pagesThatStayed ?? 0))) pages stayed in memory: they are dirty, or others map them. "
            + "Cold times are too good."))
    }
    return FileReport.Measuring(
      isCold: options.isCold, eviction: options.isCold ? log.eviction : nil, windowBytes: subject.window,
      seconds: Double(pgw_now_ns() - start) / 1e9, isInterrupted: wasCancelled, isVerified: !subject.isSynthetic)
  }
}

/// Drops the file's clean pages and counts what is left. Never syncs: dirty pages stay, and are told.
internal func evict(_ descriptor: CInt, _ size: Int64, _ log: FileSession.EvictionLog) {
  log.eviction.count += 1
  // Pages that are just being read ahead are locked and stay: a moment later they can go.
  for attempt in 0..<40 {
    _ = pgw_fadvise(descriptor, 0, 0, CInt(PGW_FADV_DONTNEED))
    guard let worst = log.eviction.pagesThatStayed else { return }
    var state = pgw_cache_state()
    guard unsafe pgw_cachestat(descriptor, 0, UInt64(size), &state) == 0 else {
      log.eviction.pagesThatStayed = nil
      return
    }
    if state.cached == 0 { return }
    let isHopeless = state.cached <= state.dirty + state.writeback
    if isHopeless || attempt == 39 {
      log.eviction.pagesThatStayed = max(worst, Int64(state.cached))
      return
    }
    pause(nanoseconds: 1_000_000)
  }
}

private func pause(nanoseconds: Int) {
  var time = timespec(tv_sec: 0, tv_nsec: nanoseconds)
  unsafe nanosleep(&time, nil)
}

// SPDX-License-Identifier: Apache-2.0

internal import CPlatform
internal import MemoryMapping
internal import SystemPackage

/// Which pages of a file were in memory before a pass came near them, from somewhat behind the pass to as far ahead as the
/// kernel may read by itself. Memory of a fixed size.
internal struct ResidencyLedger {
  internal enum State: UInt8 { case hidden, none, all, mixed }

  /// Bytes told of together: no folio is larger, and folios are aligned, so that none lies in two.
  internal let unit: Int64
  private let page = Int64(SystemPage.size)
  private let fileEnd: Int64
  private var states: [State]
  /// Pages that were in memory, of each unit.
  private var counts: [Int]
  /// One byte a page, for mixed units.
  private var vector: [UInt8]
  /// Everything from `base` to here is known.
  internal private(set) var frontier: Int64
  private(set) internal var isHidden = false
  private var usesMincore = false

  /// - Parameters:
  ///   - reach: bytes from the oldest to the newest that are asked for at a time.
  internal init(from start: Int64, fileEnd: Int64, unit: Int, reach: Int64) {
    self.unit = Int64(unit)
    self.fileEnd = fileEnd
    frontier = start / self.unit * self.unit
    let capacity = Int(min(reach, fileEnd - frontier) / self.unit) + 3
    states = Array(repeating: .hidden, count: capacity)
    counts = Array(repeating: 0, count: capacity)
    vector = Array(repeating: 0, count: capacity * (unit / SystemPage.size))
  }

  private func slot(_ offset: Int64) -> Int { Int(offset / unit) % states.count }
  private func end(of offset: Int64) -> Int64 { min(offset + unit, fileEnd) }
  private func pages(_ length: Int64) -> Int { Int((length + page - 1) / page) }

  /// Asks about everything up to `offset`. Must come before anything is read that makes the kernel read there.
  internal mutating func look(upTo offset: Int64, _ descriptor: CInt) {
    while frontier < min(offset, fileEnd), !isHidden {
      look(at: frontier, descriptor)
      frontier += unit
    }
  }

  private mutating func look(at start: Int64, _ descriptor: CInt) {
    let length = end(of: start) - start
    let total = pages(length)
    let slot = slot(start)
    var state = pgw_cache_state()
    if !usesMincore {
      if unsafe pgw_cachestat(descriptor, UInt64(start), UInt64(length), &state) == 0 {
        let cached = Int(clamping: state.cached)
        counts[slot] = min(cached, total)
        states[slot] = cached == 0 ? .none : cached >= total ? .all : .mixed
        if states[slot] != .mixed { return }
      } else {
        let reason = MappingError.currentErrno
        if reason == .notPermitted || reason == .permissionDenied || !pgw_may_write(descriptor) {
          isHidden = true
          return
        }
        usesMincore = true
      }
    }
    let first = slot * Int(unit / page)
    let failed = unsafe vector.withUnsafeMutableBufferPointer {
      unsafe pgw_resident_pages(descriptor, start, Int(length), $0.baseAddress! + first) != 0
    }
    if failed {
      // Nothing is dropped that may be somebody's.
      states[slot] = .hidden
      return
    }
    counts[slot] = vector[first..<first + total].count { $0 & 1 != 0 }
    states[slot] = counts[slot] == 0 ? .none : counts[slot] == total ? .all : .mixed
  }

  /// The share of a range that was in memory; nil where that is hidden. By whole units.
  internal func residentShare(_ range: Range<Int64>) -> Double? {
    if isHidden { return nil }
    var found = 0
    var all = 0
    var at = range.lowerBound / unit * unit
    while at < range.upperBound {
      found += counts[slot(at)]
      all += pages(end(of: at) - at)
      at += unit
    }
    return all == 0 ? 0 : Double(found) / Double(all)
  }

  /// True when everything in the range was in memory.
  internal func isResident(_ range: Range<Int64>) -> Bool {
    if isHidden { return false }
    var at = range.lowerBound / unit * unit
    while at < range.upperBound {
      if states[slot(at)] != .all { return false }
      at += unit
    }
    return true
  }

  /// Pages that were in memory, of the units of a range: of those that it has a part of, the whole ones.
  internal func kept(_ range: Range<Int64>) -> Int {
    guard !isHidden else { return 0 }
    var found = 0
    var at = range.lowerBound / unit * unit
    while at < min(range.upperBound, frontier) {
      found += counts[slot(at)]
      at += unit
    }
    return found
  }

  internal struct Drop {
    internal var dropped = 0
    /// In memory before.
    internal var kept = 0
    /// In memory now beside those.
    internal var left = 0
    internal var refused = 0
  }

  /// Drops what was not in memory before, of whole units.
  internal func drop(_ range: Range<Int64>, _ descriptor: CInt) -> Drop {
    var result = Drop()
    guard !isHidden else { return result }
    let lower = range.lowerBound / unit * unit
    let upper = min(range.upperBound, frontier, fileEnd)
    guard lower < upper else { return result }
    var mustAct = false
    var at = lower
    while at < upper {
      result.kept += counts[slot(at)]
      mustAct = mustAct || states[slot(at)] != .all
      at += unit
    }
    guard mustAct else { return result }
    let before = cached(lower, upper, descriptor)
    if before == result.kept { return result }
    var run: Int64? = nil
    func end(_ offset: Int64) {
      guard let start = run else { return }
      run = nil
      if pgw_fadvise(descriptor, start, offset - start, CInt(PGW_FADV_DONTNEED)) != 0 { result.refused += 1 }
    }
    at = lower
    while at < upper {
      switch states[slot(at)] {
      case .none: if run == nil { run = at }
      case .all, .hidden: end(at)
      case .mixed:
        let first = slot(at) * Int(unit / page)
        for index in 0..<pages(self.end(of: at) - at) {
          let start = at + Int64(index) * page
          if vector[first + index] & 1 != 0 { end(start) } else if run == nil { run = start }
        }
      }
      at += unit
    }
    // Up to the end of the last page.
    end(upper == fileEnd ? (upper + page - 1) / page * page : upper)
    if let before, let after = cached(lower, upper, descriptor) {
      result.dropped = max(0, before - after)
      result.left = max(0, after - result.kept)
    }
    return result
  }

  private func cached(_ lower: Int64, _ upper: Int64, _ descriptor: CInt) -> Int? {
    var state = pgw_cache_state()
    guard !usesMincore, unsafe pgw_cachestat(descriptor, UInt64(lower), UInt64(upper - lower), &state) == 0 else {
      return nil
    }
    return Int(clamping: state.cached)
  }
}

// SPDX-License-Identifier: Apache-2.0

internal import CPlatform
internal import MemoryMapping
internal import SystemPackage

#if canImport(Glibc)
  internal import Glibc
#elseif canImport(Musl)
  internal import Musl
#elseif canImport(Darwin)
  internal import Darwin
#endif

/// One pass: gives chunk after chunk, and cleans up behind itself, at the end at the latest.
///
/// Before a window is read, the ledger has looked at everything that reading it may make the kernel read: the window, and two of
/// the kernel's read-aheads beyond. So whatever comes into memory is known to have come by this pass.
@safe
internal final class StreamEngine {
  @safe
  internal struct Chunk {
    internal let base: UnsafeRawPointer
    internal let count: Int
    internal let offset: Int64
  }

  internal let file: ObservedFile
  internal let path: FilePath?
  internal let plan: StreamPlan
  internal let end: Int64
  internal let fileEnd: Int64
  internal var position: Int64
  internal var report = StreamReport()
  internal var buffer = StreamBuffer()
  internal var isOver = false
  private let started: UInt64

  // The present window.
  private var windowStart: Int64
  private var windowEnd: Int64
  private var windowBegan: UInt64 = 0
  private var windowMethod = StreamedFile.Method.read
  private var windowIsCached = false
  /// What of the file the buffer holds.
  private var filled: Range<Int64> = 0..<0
  private var map: MappedFile? = nil
  private var mapBase: UnsafeRawPointer? = nil
  /// A mapped chunk that is in the caller's hands ends here; 0 for none.
  private var unproved: Int64 = 0

  private var ledger: ResidencyLedger
  internal var contest: MethodContest
  private var direct: DirectFile? = nil
  /// The window before, if it had pages that could not be dropped yet.
  private var lagging: Range<Int64>? = nil
  /// Asked for by ourselves up to here.
  private var asked: Int64

  internal init(_ file: borrowing StreamedFile) throws(MappingError) {
    // An opening of its own: advice and the state of read-ahead belong to the opening. Not of what a second opening could
    // change, nor of a FIFO, whose new reader is not told of a writer that has gone.
    let own = file.count == nil ? -1 : pgw_reopen(file.file.number, false)
    if own >= 0 {
      self.file = ObservedFile(owning: own)
    } else {
      self.file = try file.file.duplicate(file.path)
    }
    path = file.path
    plan = StreamPlan(file, hasOwnOpening: own >= 0)
    fileEnd = file.count == nil ? .max : file.size
    position = file.count == nil ? 0 : file.offset
    end = file.count.map { file.offset + $0 } ?? .max
    windowStart = position
    windowEnd = position
    asked = position
    contest = MethodContest(fixed: plan.fixed, cold: plan.cold, warm: plan.warm, trial: plan.trial)
    ledger = ResidencyLedger(
      from: position, fileEnd: file.count == nil ? 0 : file.size, unit: plan.unit,
      reach: 2 * Int64(plan.windowSize) + plan.lead)
    started = pgw_now_ns()
    report.windowSize = plan.windowSize
    report.chunkSize = plan.chunkSize
    report.isMemoryScarce = plan.asksItself
    report.wasAsked = file.method != .measured
    guard file.count != nil else { return }
    // What the kernel reads ahead by itself may be more than there is room for.
    if plan.asksItself { advise(pgw_fadvise(self.file.number, 0, 0, CInt(PGW_FADV_RANDOM))) }
  }

  deinit { finish(.stopped) }

  private func advise(_ result: CInt) { if result != 0 { report.refusedAdvice += 1 } }

  /// The next bytes; nil at the end. They are valid until the next call.
  internal func next(isCancelled: () -> Bool) throws(MappingError) -> Chunk? {
    if isOver { return nil }
    do throws(MappingError) {
      try prove()
      if isCancelled() {
        finish(.cancelled)
        return nil
      }
      guard let chunk = fileEnd == .max ? try nextInOrder(isCancelled) : try nextOfFile() else { return nil }
      report.bytes += Int64(chunk.count)
      return chunk
    } catch {
      finish(.stopped)
      throw error
    }
  }

  private func nextOfFile() throws(MappingError) -> Chunk? {
    guard position < end else {
      finish(.end)
      return nil
    }
    if position >= windowEnd {
      if windowBegan > 0 { closeWindow() }
      openWindow()
    }
    let offset = position
    let count = Int(min(Int64(plan.chunkSize), windowEnd - offset))
    if windowMethod == .map, let base = unsafe mapBase {
      position += Int64(count)
      unproved = position
      return unsafe Chunk(base: base + Int(offset - windowStart), count: count, offset: offset)
    }
    if !filled.contains(offset) { try fill(offset, count) }
    let have = Int(min(Int64(count), filled.upperBound - offset))
    position += Int64(have)
    return unsafe Chunk(base: buffer.base! + Int(offset - filled.lowerBound), count: have, offset: offset)
  }

  // MARK: Windows

  private func openWindow() {
    windowStart = position
    let size = Int64(plan.windowSize)
    windowEnd = min(end, (position / size + 1) * size)
    ledger.look(upTo: windowEnd + plan.lead, file.number)
    report.isResidencyKnown = !ledger.isHidden
    windowIsCached = (ledger.residentShare(windowStart..<windowEnd) ?? 0) >= 0.9
    windowMethod = contest.next(isCached: windowIsCached)
    if ledger.isHidden, !plan.isAsked { preferTraceless() }
    windowBegan = pgw_now_ns()
    report.windows += 1
    if plan.asksAhead, windowMethod == .read || windowMethod == .map { askAhead() }
    if windowMethod == .map { openMap() }
  }

  /// Nothing can be dropped that is not known to be ours. The first of these takes from memory what is there.
  private func preferTraceless() {
    windowMethod = !contest.isRefused(.dontCache) ? .dontCache : !contest.isRefused(.direct) ? .direct : .read
  }

  /// Starts to read this window and what follows, where the kernel would not do it far enough.
  private func askAhead() {
    let limit = min(windowEnd + plan.ahead, end)
    var at = max(asked, windowStart)
    while at < limit {
      // The kernel reads no more than its own read-ahead for one call.
      let step = min(plan.askStep, limit - at)
      if !ledger.isResident(at..<at + step) {
        advise(pgw_fadvise(file.number, at, step, CInt(PGW_FADV_WILLNEED)))
      }
      at += step
    }
    asked = max(asked, limit)
  }

  private func openMap() {
    do throws(MappingError) {
      let fresh = try MappedFile(
        descriptor: file.descriptor, offset: windowStart, length: Int(windowEnd - windowStart), path: path)
      if !windowIsCached {
        do throws(MappingError) { try fresh.advise(plan.asksItself ? .random : .sequential) } catch {
          report.refusedAdvice += 1
        }
      }
      unsafe mapBase = unsafe Self.start(of: fresh)
      map = consume fresh
    } catch {
      // A file that was cut is told by reading it.
      if error.code != .invalidRange { contest.refuse(.map, error.errno ?? .notSupported, isCached: windowIsCached) }
      windowMethod = .read
    }
  }

  private static func start(of map: borrowing MappedFile) -> UnsafeRawPointer? {
    unsafe map.bytes.withUnsafeBytes { $0.baseAddress }
  }

  /// Proves that the mapped bytes in the caller's hands were the file's.
  internal func prove() throws(MappingError) {
    guard unproved > 0 else { return }
    let upper = unproved
    unproved = 0
    if map?.faultFlag.isRaised == true { try map?.checkFault() }
    // A cut inside the last page shows zeros without a fault. A read of nothing waits for a cut that is under way.
    _ = pgw_pread(file.number, nil, 0, 0)
    let now = try file.stat(path ?? "")
    if EntryKind(mode: now.mode) == .regular, now.size < upper { throw cut(at: now.size, upper) }
  }

  private func cut(at size: Int64, _ upper: Int64) -> MappingError {
    MappingError(
      .truncated, operation: .read, path: path, offset: size, length: max(0, upper - size), detail: .fileSize(size))
  }

  private func closeWindow() {
    endWindow()
    if let window = lagging {
      let drop = ledger.drop(window, file.number)
      count(drop)
      report.pagesLeft += drop.left
    }
    let drop = ledger.drop(windowStart..<windowEnd, file.number)
    count(drop)
    // Pages that are still on their way: once more behind the next window.
    lagging = drop.left > 0 ? windowStart..<windowEnd : nil
  }

  /// Takes the figures of the window; its pages are still there.
  private func endWindow() {
    guard windowBegan > 0 else { return }
    unsafe mapBase = nil
    map = nil
    report.pagesKept += ledger.kept(windowStart..<position)
    contest.note(
      windowMethod, isCached: windowIsCached, bytes: position - windowStart,
      seconds: Double(pgw_now_ns() - windowBegan) * 1e-9)
    windowBegan = 0
  }

  private func count(_ drop: ResidencyLedger.Drop) {
    report.pagesDropped += drop.dropped
    report.refusedAdvice += drop.refused
  }

  // MARK: Reading into the buffer

  private func fill(_ offset: Int64, _ count: Int) throws(MappingError) {
    if windowMethod == .direct, try fillDirect() { return }
    if windowMethod == .dontCache {
      try buffer.reserve(plan.chunkSize, path: path)
      let got = unsafe pgw_pread_dontcache(file.number, buffer.base, count, offset)
      if got > 0 {
        filled = offset..<offset + Int64(got)
        return
      }
      if got < 0 {
        let reason = MappingError.currentErrno
        guard Self.isRefusal(reason) else { throw .failed(.read, path ?? "", offset: offset, length: Int64(count)) }
        contest.refuse(.dontCache, reason, isCached: windowIsCached)
        windowMethod = .read
        if ledger.isHidden, !plan.isAsked {
          preferTraceless()
          return try fill(offset, count)
        }
      }
    }
    try buffer.reserve(plan.chunkSize, path: path)
    try fillBuffered(offset, count, at: 0)
    filled = offset..<filled.upperBound
  }

  /// Reads `count` bytes to a place in the buffer; fewer before the end of a file that was cut.
  private func fillBuffered(_ offset: Int64, _ count: Int, at place: Int) throws(MappingError) {
    var done = 0
    while done < count {
      let got = unsafe pgw_pread(file.number, buffer.base! + place + done, count - done, offset + Int64(done))
      if got < 0 {
        throw .failed(.read, path ?? "", offset: offset + Int64(done), length: Int64(count - done))
      }
      if got == 0 { break }
      done += got
    }
    if done == 0 {
      let now = try file.stat(path ?? "")
      throw cut(at: min(now.size, offset), end)
    }
    filled = filled.lowerBound..<offset + Int64(done)
  }

  /// Reads the rest of the window past the page cache; what is no whole block at its end, through it. False when refused.
  private func fillDirect() throws(MappingError) -> Bool {
    if direct == nil { direct = DirectFile(file) }
    guard let unit = direct?.alignment else {
      refuseDirect(direct?.failure ?? .notSupported)
      return false
    }
    let lower = position / unit * unit
    let aligned = windowEnd / unit * unit
    let length = Int(windowEnd - lower)
    try buffer.reserve(plan.windowSize + Int(unit), path: path)
    filled = lower..<lower
    while filled.upperBound < aligned {
      let done = Int(filled.upperBound - lower)
      let got = unsafe direct!.read(buffer.base! + done, Int(aligned - filled.upperBound), filled.upperBound)
      if got < 0 {
        let reason = MappingError.currentErrno
        guard Self.isRefusal(reason) else {
          throw .failed(.read, path ?? "", offset: filled.upperBound, length: aligned - filled.upperBound)
        }
        refuseDirect(reason)
        filled = 0..<0
        return false
      }
      filled = lower..<filled.upperBound + Int64(got)
      // No whole block: the file ends here now, and reading it tells.
      if got == 0 || Int64(got) % unit != 0 { break }
    }
    if filled.upperBound > position, filled.upperBound < windowEnd, filled.upperBound < aligned { return true }
    let done = Int(filled.upperBound - lower)
    if done < length { try fillBuffered(filled.upperBound, length - done, at: done) }
    return true
  }

  private func refuseDirect(_ reason: Errno) {
    contest.refuse(.direct, reason, isCached: windowIsCached)
    windowMethod = .read
  }

  private static func isRefusal(_ errno: Errno) -> Bool {
    [.invalidArgument, .notSupported, .noFunction, .init(rawValue: 95)].contains(errno)
  }

  // MARK: What has no size

  private func nextInOrder(_ isCancelled: () -> Bool) throws(MappingError) -> Chunk? {
    try buffer.reserve(plan.chunkSize, path: path)
    while true {
      let behind = plan.offset - position
      let rest = plan.length.map { behind > 0 ? $0 : plan.offset + $0 - position } ?? .max
      guard rest > 0 else {
        finish(.end)
        return nil
      }
      let want = Int(min(Int64(plan.chunkSize), behind > 0 ? behind : rest))
      if plan.mustWait {
        let ready = pgw_wait_readable(file.number, 100)
        if ready < 0 { throw .failed(.read, path ?? "", offset: position) }
        if ready == 0 {
          guard isCancelled() else { continue }
          finish(.cancelled)
          return nil
        }
      }
      let got = unsafe pgw_read_next(file.number, buffer.base, want)
      if got < 0 {
        let reason = MappingError.currentErrno
        if reason == .resourceTemporarilyUnavailable || reason == .wouldBlock { continue }
        throw .failed(.read, path ?? "", offset: position, length: Int64(want))
      }
      if got == 0 {
        guard behind <= 0 || plan.offset == 0 else {
          throw MappingError(
            .invalidRange, operation: .read, path: path, offset: plan.offset,
            detail: .note("it ended at byte \(position)"))
        }
        finish(.end)
        return nil
      }
      let offset = position
      position += Int64(got)
      if behind > 0 { continue }
      report.windows += 1
      return unsafe Chunk(base: UnsafeRawPointer(buffer.base!), count: got, offset: offset)
    }
  }

  // MARK: The end

  /// Drops what is left and completes the report. Does nothing the second time.
  internal func finish(_ ending: StreamReport.Ending) {
    guard !isOver else { return }
    isOver = true
    report.ending = ending
    if fileEnd < .max, windowBegan > 0 {
      endWindow()
      dropAll()
    }
    report.methods = contest.figures
    report.wasMeasured = contest.wasMeasured
    if let most = contest.figures.max(by: { $0.bytes < $1.bytes }), most.bytes > 0 { report.method = most.method }
    report.seconds = Double(pgw_now_ns() - started) * 1e-9
  }

  /// Drops the last window and what the kernel has read ahead of it.
  private func dropAll() {
    let upper = min(ledger.frontier, fileEnd)
    let lower = lagging?.lowerBound ?? windowStart
    guard !ledger.isHidden, lower < upper else { return }
    var drop = ledger.drop(lower..<upper, file.number)
    count(drop)
    // Pages that are on their way cannot be dropped, and a read that waited for them would set off the next read-ahead.
    var pause: UInt32 = 250
    while drop.left > 0, pause <= 64_000 {
      usleep(pause)
      pause *= 2
      drop = ledger.drop(lower..<upper, file.number)
      count(drop)
    }
    report.pagesLeft += drop.left
  }
}

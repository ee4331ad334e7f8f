// SPDX-License-Identifier: Apache-2.0

internal import CPlatform
@_spi(Testing) internal import MemoryMapping
internal import Synchronization
internal import SystemPackage

/// One run of a ``CacheWarmer``, on the helper thread.
internal struct WarmRun: ~Copyable {
  private let options: CacheWarmer.Options
  private let state: WarmState
  private let window: Int64
  private let budget: Int64
  private let start = pgw_now_ns()
  private var walk: TreeWalk? = nil
  private var fileSystem: FileSystemKind? = nil
  private var wanted: Int64 = 0
  private var before = CachedPages()
  private var after = CachedPages()
  private var brought: Int64 = 0
  private var skipped: Int64 = 0
  private var failed: Int64 = 0
  private var refused = 0
  private var firstRefusal: Errno? = nil
  private var isOverBudget = false
  private var isInterrupted = false
  private var pagesPerFault: Int? = nil
  private var counts: WarmReport.ListCounts? = nil
  /// Failures inside the windows of files, for the walk.
  private var failures: [MappingError] = []
  /// In the file that is being warmed.
  private var hasFailed = false
  /// Brought since the room was looked at.
  private var sinceLook: Int64 = 0

  internal init(_ options: CacheWarmer.Options, _ state: WarmState) {
    self.options = options
    self.state = state
    let page = Int64(SystemPage.size)
    let asked = Int64(min(max(options.window ?? 8 << 20, 64 << 10), 1 << 30))
    window = (asked + page - 1) / page * page
    budget = max(0, options.budget ?? (MemoryRoom.bytes ?? 1 << 62) / 10 * 9)
  }

  private var isEnded: Bool { isInterrupted || isOverBudget }

  internal mutating func folder(_ path: FilePath, range: Range<Int64>?) throws(MappingError) {
    var walk = TreeWalk(
      followsLinks: options.followsLinks, staysOnFileSystem: options.staysOnFileSystem, patterns: options.patterns)
    fileSystem = (try? ObservedFile(path))?.fileSystem
    let state = state
    var ended = false
    let isCancelled = { ended || state.isCancelled.load(ordering: .relaxed) }
    try walk.run(path, opening: true, isCancelled: isCancelled) { entry in
      if entry.fileSystem?.nature == .synthetic { return }
      add(entry.descriptor, entry.stat, ranges: range.map { [$0] }) { entry.path }
      ended = isEnded
    }
    if walk.wasCancelled, !isOverBudget { isInterrupted = true }
    for failure in failures { walk.fail(failure) }
    self.walk = walk
  }

  internal mutating func file(_ path: FilePath, range: Range<Int64>?) throws(MappingError) {
    let file = try ObservedFile(path)
    let stat = try file.regularStat(path, .init("warm"))
    fileSystem = file.fileSystem
    if let fileSystem, fileSystem.nature == .synthetic {
      throw MappingError(
        .notSupported, operation: .init("warm"), path: path,
        detail: .advice(
          "files of \(fileSystem) are made when they are read: there is nothing to keep in memory",
          remedy: "Give a file that is stored."))
    }
    let whole = 0..<max(0, stat.size)
    let asked = (range ?? whole).clamped(to: whole)
    state.total.store(Int64(asked.count), ordering: .relaxed)
    add(file.number, stat, ranges: range.map { [$0] }) { path }
    if let failure = failures.first, brought == 0, skipped == 0 { throw failure }
    pagesPerFault = FileResidency.pagesPerFault(file.number, size: stat.size, in: asked)
  }

  internal mutating func list(_ list: HotRanges) {
    var counts = WarmReport.ListCounts()
    counts.files = list.files.count
    state.total.store(list.bytes, ordering: .relaxed)
    for entry in list.files where !isEnded {
      do throws(MappingError) {
        let file = try ObservedFile(entry.path)
        let stat = try file.regularStat(entry.path, .init("warm"))
        if stat.size != entry.size || stat.modified_ns != entry.modified { counts.changed += 1 }
        add(file.number, stat, ranges: entry.ranges) { entry.path }
      } catch {
        counts.missing += 1
        failures.append(error)
      }
    }
    self.counts = counts
    var walk = TreeWalk(followsLinks: false, staysOnFileSystem: false)
    for failure in failures { walk.fail(failure) }
    self.walk = walk
  }

  /// Warms ranges of an open file.
  private mutating func add(
    _ descriptor: CInt, _ stat: pgw_stat, ranges: [Range<Int64>]?, path: () -> FilePath
  ) {
    state.files.add(1, ordering: .relaxed)
    hasFailed = false
    // The kernel reads further ahead for this descriptor, on devices that are set to little.
    _ = pgw_fadvise(descriptor, 0, 0, CInt(PGW_FADV_SEQUENTIAL))
    let hasHoles = stat.allocated < stat.size && !options.loadsHoles
    for range in ranges ?? [0..<max(0, stat.size)] where !isEnded {
      let asked = range.clamped(to: 0..<max(0, stat.size))
      guard !asked.isEmpty else { continue }
      let known = CachedPages(descriptor: descriptor, range: asked)
      before.add(known)
      if known.knownFiles > 0, known.resident == known.pages, isReadable(descriptor, asked) {
        wanted += Int64(asked.count)
        skipped += Int64(asked.count)
        state.done.add(Int64(asked.count), ordering: .relaxed)
        after.add(known)
        continue
      }
      // Asked for all windows before the first is loaded: the kernel reads ahead of it.
      var windows: [Window] = []
      segments(descriptor, asked, hasHoles) { run, segment in
        run.plan(descriptor, segment, known, isExact: ranges != nil, &windows)
      }
      if options.method == .request { request(descriptor, stat.device, windows) }
      for window in windows where !isEnded { load(descriptor, window, path) }
      after.add(CachedPages(descriptor: descriptor, range: asked))
    }
  }

  /// Whether all pages of a range have their content, as mincore tells.
  private func isReadable(_ descriptor: CInt, _ range: Range<Int64>) -> Bool {
    let page = Int64(SystemPage.size)
    let first = range.lowerBound / page
    let count = (range.upperBound - 1) / page - first + 1
    return PageVector.resident(descriptor, first: first, count: count) == count
  }

  /// A part of a file that is loaded at once.
  private struct Window {
    let range: Range<Int64>
    /// Bytes of it that were in memory before; nil where that is not known.
    let resident: Int64?
    /// Asked for as a range, not as a part of a whole file.
    let isExact: Bool
    var missing: Int64 { Int64(range.count) - (resident ?? 0) }
  }

  private mutating func plan(
    _ descriptor: CInt, _ segment: Range<Int64>, _ known: CachedPages, isExact: Bool, _ windows: inout [Window]
  ) {
    let page = Int64(SystemPage.size)
    wanted += Int64(segment.count)
    var at = segment.lowerBound
    while at < segment.upperBound {
      // Windows end at multiples of their size.
      let end = min(segment.upperBound, at / window * window + window)
      var resident: Int64? = nil
      if known.knownFiles > 0 {
        // In whole pages, so at the ends of a range it can be more than there is.
        let first = at / page
        let count = (end - 1) / page - first + 1
        // By mincore, which counts what can be read: cachestat has pages, too, that are on their way or failed.
        let pages = known.resident == 0 ? 0 : PageVector.resident(descriptor, first: first, count: count) ?? 0
        resident = min(pages * page, end - at)
      }
      windows.append(Window(range: at..<end, resident: resident, isExact: isExact))
      at = end
    }
  }

  /// Calls `body` for each part of a range that has storage.
  private mutating func segments(
    _ descriptor: CInt, _ range: Range<Int64>, _ hasHoles: Bool, _ body: (inout WarmRun, Range<Int64>) -> Void
  ) {
    guard hasHoles else { return body(&self, range) }
    var at = range.lowerBound
    while at < range.upperBound, !isEnded {
      let data = pgw_seek_data(descriptor, at)
      // At the end, or the file system does not tell: then it is all data.
      if data < 0 {
        if MappingError.currentErrno != .noSuchAddressOrDevice { body(&self, at..<range.upperBound) }
        return
      }
      guard data < range.upperBound else { return }
      let hole = pgw_seek_hole(descriptor, data)
      let end = hole > data ? min(hole, range.upperBound) : range.upperBound
      body(&self, max(data, at)..<end)
      at = end
    }
  }

  /// Asks for everything that is missing, without waiting, as far as the budget reaches.
  private mutating func request(_ descriptor: CInt, _ device: UInt64, _ windows: [Window]) {
    // One call reads what the device reads ahead at most, and says nothing of the rest.
    let step = min(max(MemoryRoom.readAhead(device: device) ?? 0, 128 << 10), 8 << 20)
    var left = budget - brought
    for window in windows where window.missing > 0 {
      var at = window.range.lowerBound
      while at < window.range.upperBound {
        guard left > 0, !state.isCancelled.load(ordering: .relaxed) else { return }
        let end = min(window.range.upperBound, at + step)
        if pgw_fadvise(descriptor, at, end - at, CInt(PGW_FADV_WILLNEED)) != 0 { refuse() }
        left -= end - at
        at = end
      }
    }
  }

  private mutating func refuse() {
    if refused == 0 { firstRefusal = MappingError.currentErrno }
    refused += 1
  }

  /// Loads a window, unless all of it was in memory.
  private mutating func load(_ descriptor: CInt, _ window: Window, _ path: () -> FilePath) {
    if state.isCancelled.load(ordering: .relaxed) {
      isInterrupted = true
      return
    }
    if window.missing > 0 {
      guard hasRoom(window.missing) else { return }
      // Exactly a short range of a list: the kernel would read on behind it.
      if window.isExact, window.range.count < 1 << 20 {
        let start = window.range.lowerBound
        if pgw_fadvise(descriptor, start, Int64(window.range.count), CInt(PGW_FADV_WILLNEED)) != 0 { refuse() }
      }
      let lost = min(wait(for: descriptor, window.range, path), Int64(window.range.count))
      let loaded = max(0, window.missing - lost)
      failed += lost
      brought += loaded
      skipped += Int64(window.range.count) - lost - loaded
      sinceLook += window.missing
    } else {
      skipped += Int64(window.range.count)
    }
    state.done.add(Int64(window.range.count), ordering: .relaxed)
  }

  /// False once the budget is used up; the memory that is really left is looked at for every 256 MiB.
  private mutating func hasRoom(_ bytes: Int64) -> Bool {
    if brought + bytes > budget { isOverBudget = true }
    if sinceLook >= 256 << 20, options.budget == nil {
      sinceLook = 0
      if let room = MemoryRoom.bytes, room < budget / 16 { isOverBudget = true }
    }
    return !isOverBudget
  }

  /// Waits until a window is in memory.
  ///
  /// - Returns: bytes that cannot be had.
  private mutating func wait(for descriptor: CInt, _ range: Range<Int64>, _ path: () -> FilePath) -> Int64 {
    let page = Int64(SystemPage.size)
    let start = range.lowerBound / page * page
    let length = Int(range.upperBound - start)
    if let base = unsafe pgw_map(nil, length, 1, CInt(PGW_MAP_SHARED), descriptor, start) {
      let loaded = unsafe pgw_madvise(base, length, CInt(PGW_MADV_POPULATE_READ)) == 0
      // A bad page is a fault like any other here: what cannot be had is found by reading.
      if !loaded, MappingError.currentErrno != .badAddress { refuse() }
      _ = unsafe pgw_unmap(base, length)
      if loaded { return 0 }
    } else {
      refuse()
    }
    return read(descriptor, range, path)
  }

  /// Reads a window, for what cannot be mapped or populated; finds what cannot be had, page by page.
  private mutating func read(_ descriptor: CInt, _ range: Range<Int64>, _ path: () -> FilePath) -> Int64 {
    let page = Int64(SystemPage.size)
    var lost: Int64 = 0
    unsafe withUnsafeTemporaryAllocation(byteCount: 256 << 10, alignment: 64) { buffer in
      let base = buffer.baseAddress!
      var at = range.lowerBound
      var step = Int64(buffer.count)
      while at < range.upperBound {
        let count = min(step, range.upperBound - at)
        let got = unsafe pgw_pread(descriptor, base, Int(count), at)
        if got > 0 {
          at += Int64(got)
          continue
        }
        if got < 0, count > page {
          step = page
          continue
        }
        // The first of each file.
        if !hasFailed {
          hasFailed = true
          failures.append(
            got < 0
              ? .failed(.read, path(), offset: at, length: count)
              : MappingError(.truncated, operation: .init("warm"), path: path(), offset: at))
        }
        // Nothing follows the end; behind a bad page there may be good ones.
        lost += got < 0 ? count : range.upperBound - at
        at = got < 0 ? at + count : range.upperBound
      }
    }
    return lost
  }

  internal func report(_ path: FilePath) -> WarmReport {
    WarmReport(
      path: path, walk: walk?.counts, fileSystem: fileSystem, wanted: wanted, before: before, after: after,
      brought: brought, skipped: skipped, failed: failed, refused: refused, firstRefusal: firstRefusal, budget: budget,
      isOverBudget: isOverBudget, isInterrupted: isInterrupted || state.isCancelled.load(ordering: .relaxed),
      nanoseconds: pgw_now_ns() - start, pagesPerFault: pagesPerFault,
      failure: walk == nil ? failures.first : nil, list: counts)
  }
}

// SPDX-License-Identifier: Apache-2.0

internal import CPlatform
internal import SystemPackage

extension TransactionalFile {
  /// Makes every change since ``begin()`` permanent, all or none of them.
  ///
  /// - Parameter durability: `.durable` returns once they are on disk.
  /// - Returns: the commit's generation; the present one when nothing had changed.
  /// - Throws: ``MappingError``. `noSpace`, `limitExceeded`, `memoryExhausted`: nothing has happened, the transaction is still
  ///   open. `truncated`, `faulted`: the file was cut under us; roll back or close. A failed sync, and `syncFailed` from then on: final.
  /// - Complexity: a scan of the page table (25 ns a page), a comparison and a checksum of each changed page, one write and one
  ///   sync of the journal; then one write for each changed part of the file.
  @discardableResult
  public mutating func commit(_ durability: CommitDurability = .durable) throws(MappingError) -> UInt64 {
    try require(inTransaction: true, .commit)
    // What could not be brought into the file last time comes first: readers must not see commits out of order.
    if durability == .durable, applicationError != nil { try applyPending() }
    let runs = try changes()
    let isNew = !runs.isEmpty || count != committedCount
    if isNew {
      try append(runs)
      committedCount = count
    }
    isInTransaction = false
    let isApplied = durability == .durable && options.application == .atCommit
    // What will not be in the file when the next commit looks for its changes.
    if !isApplied { unsafe overlay.keep(runs, of: UnsafeRawPointer(view.base)) }
    guard durability == .durable, durableGeneration < generation else { return generation }
    let applicable = isNew && pending.count == 1 ? runs : nil
    try makeDurable()
    guard options.application == .atCommit else {
      settle { me throws(MappingError) in try me.checkpointIfFull() }
      return generation
    }
    // The commit is safe: what fails from here on is told by the next call.
    settle { me throws(MappingError) in
      if let runs = applicable { try me.apply(runs) } else { try me.applyPending() }
      me.boundPrivatePages(runs)
      try me.checkpointIfFull()
    }
    // It waits in the journal: the next commit compares with it, not with the file.
    if !pending.isEmpty { unsafe overlay.keep(runs, of: UnsafeRawPointer(view.base)) }
    return generation
  }

  /// Private pages that equal the file are kept, as they will likely change again, but each is compared by each commit: they are
  /// dropped once most of them did not change.
  private mutating func boundPrivatePages(_ runs: [pgw_byte_run]) {
    var changed = 0
    var last = -1
    for run in runs {
      let first = Int(run.offset) / SystemPage.size
      let end = Int(run.offset + run.length - 1) / SystemPage.size
      changed += end - max(first, last + 1) + 1
      last = end
    }
    if privatePages > 4 * changed + 256 { view.discardChanges(keeping: count) }
  }

  /// Makes every commit durable that was made with ``CommitDurability/withNext``, by one sync.
  ///
  /// - Throws: ``MappingError``; a failed sync is final.
  public mutating func sync() throws(MappingError) {
    try requireSound(.commit)
    if durableGeneration < generation { try makeDurable() }
    if options.application == .atCommit { try applyPending() }
  }

  /// Brings every commit into the file, syncs it, and empties the journal.
  ///
  /// Happens by itself whenever the journal has grown beyond ``Options/journalLimit``. Call it when there is time: it waits for the
  /// device for the data that commits have changed since the last one.
  ///
  /// - Throws: ``MappingError``; a failed sync is final. Commits are safe whatever happens.
  public mutating func checkpoint() throws(MappingError) {
    try requireSound(.checkpoint)
    if durableGeneration < generation { try makeDurable() }
    try applyPending()
    guard journal.end > Int64(Journal.headerSize) else { return }
    try final { me throws(MappingError) in
      guard pgw_storage_sync(me.descriptor.number, PGW_SYNC_DATA) == 0 else { throw .last(.checkpoint, path: me.path) }
    }
    // A full disk here (on file systems that copy on write) is no failed sync: nothing has changed, and it can be tried again.
    let next = try journal.writeNextSlot(generation: generation, size: Int64(committedCount))
    try final { me throws(MappingError) in try me.journal.beginEpoch(next) }
    // Private pages that equal the file are kept, as they will likely change again; not without bound.
    if !isInTransaction { view.discardChanges(keeping: count) }
  }

  private mutating func checkpointIfFull() throws(MappingError) {
    if journal.end > Int64(options.journalLimit) { try checkpoint() }
  }

  // ---------------------------------------------------------------------------------------------- the parts

  /// Every byte of the view that is not as it was committed.
  private mutating func changes() throws(MappingError) -> [pgw_byte_run] {
    var runs: [pgw_byte_run] = []
    privatePages = 0
    for pages in view.changedPages() {
      privatePages += pages.count / SystemPage.size
      // What lies behind the file is compared with zeros. The file, not the view of it, which takes over growth later.
      let border = min(max(applied.range.length, pages.lowerBound), pages.upperBound)
      collect(&runs, from: pages.lowerBound, to: min(border, count), isInFile: true)
      collect(&runs, from: border, to: min(pages.upperBound, count), isInFile: false)
    }
    try requireSound(.commit)
    return runs.count <= Journal.runLimit ? runs : Self.joined(runs)
  }

  /// Fewer, longer runs: those that lie in one page or next to each other become one, with the bytes in between.
  private static func joined(_ runs: [pgw_byte_run]) -> [pgw_byte_run] {
    var joined: [pgw_byte_run] = []
    for run in runs {
      if let last = joined.last, run.offset - (last.offset + last.length) < UInt64(SystemPage.size) {
        joined[joined.count - 1].length = run.offset + run.length - last.offset
      } else {
        joined.append(run)
      }
    }
    return joined
  }

  /// Changed parts that lie closer together than a run's entry takes become one.
  private static let gap = 32

  private borrowing func collect(_ runs: inout [pgw_byte_run], from lower: Int, to upper: Int, isInFile: Bool) {
    guard lower < upper else { return }
    guard overlay.isEmpty else {
      var at = lower
      while at < upper {
        let end = min(at + SystemPage.size, upper)
        let file = unsafe isInFile ? UnsafeRawPointer(applied.viewStart + at) : nil
        unsafe overlay.withPage(at: at, else: file) { unsafe compare(&runs, from: at, to: end, with: $0) }
        at = end
      }
      return
    }
    unsafe compare(&runs, from: lower, to: upper, with: isInFile ? UnsafeRawPointer(applied.viewStart + lower) : nil)
  }

  /// - Parameter before: what is committed from `lower` on; nil for zeros.
  private borrowing func compare(
    _ runs: inout [pgw_byte_run], from lower: Int, to upper: Int, with before: UnsafeRawPointer?
  ) {
    let now = unsafe UnsafeRawPointer(view.base + lower)
    var next = 0
    while next < upper - lower {
      unsafe withUnsafeTemporaryAllocation(of: pgw_byte_run.self, capacity: 256) { found in
        let used = unsafe pgw_find_changes(
          before, now, upper - lower, Self.gap, found.baseAddress!, found.count, &next)
        for index in 0..<used {
          let run = unsafe found[index]
          runs.append(pgw_byte_run(offset: UInt64(lower) + run.offset, length: run.length))
        }
      }
    }
  }

  /// Writes one record; the commit exists from here on, but is not durable.
  private mutating func append(_ runs: [pgw_byte_run]) throws(MappingError) {
    try reserveSpace(for: runs)
    let flag = view.flag
    let appliedFlag = applied.faultFlag
    let bytes = unsafe UnsafeRawPointer(view.base)
    let record: Journal.Record?
    do throws(MappingError) {
      record = try unsafe journal.append(
        generation: generation + 1, durable: durableGeneration, size: Int64(count), runs: runs, bytes: bytes,
        isSound: { !flag.isRaised && !appliedFlag.isRaised })
    } catch {
      // The device refused a write: unlike a full disk, that does not get better.
      if error.code == .inputOutput { failure = error }
      throw error
    }
    guard let record else { throw faultError(.commit) }
    generation += 1
    pending.append(record)
  }

  /// Space for what the commit adds, while it can still be refused. File systems that copy on write promise nothing here.
  private borrowing func reserveSpace(for runs: [pgw_byte_run]) throws(MappingError) {
    var size: UInt64 = 0
    var allocated: UInt64 = 0
    guard unsafe pgw_storage_stat(descriptor.number, &size, &allocated) == 0 else { throw .last(.commit, path: path) }
    let expected = UInt64(applied.count)
    guard size >= expected else {
      throw MappingError(
        .truncated, operation: .commit, path: path, offset: Int64(size), length: Int64(expected - size),
        detail: .fileSize(Int64(size)))
    }
    if count > committedCount, pgw_is_beyond_file_limit(Int64(count)) {
      throw MappingError(Errno.fileTooLarge, .commit, path: path, offset: Int64(count))
    }
    // Also where nothing was stored: reading a hole of a mapped file needs a page on tmpfs.
    if count > committedCount, options.reservesGrowth {
      try allocate(Int64(committedCount), Int64(count - committedCount))
    }
    // A file without holes needs nothing for what it has.
    let isSparse = allocated < size
    for run in runs where isSparse || run.offset + run.length > size {
      try allocate(Int64(run.offset), Int64(run.length))
    }
  }

  private borrowing func allocate(_ offset: Int64, _ length: Int64) throws(MappingError) {
    guard pgw_storage_allocate_ahead(descriptor.number, offset, length) != 0 else { return }
    let error = MappingError.last(.commit, path: path, offset: offset, length: length)
    if error.code != .notSupported { throw error }
  }

  internal mutating func makeDurable() throws(MappingError) {
    try final { me throws(MappingError) in try me.journal.sync() }
    durableGeneration = generation
  }

  /// Brings the one pending commit into the file from the view, which has not changed since.
  private mutating func apply(_ runs: [pgw_byte_run]) throws(MappingError) {
    guard let record = pending.first else { return }
    try beginApplying(record)
    for run in runs {
      let result = unsafe pgw_storage_write(
        descriptor.number, view.base + Int(run.offset), Int(run.length), Int64(run.offset))
      guard result == 0 else {
        throw .last(.commit, path: path, offset: Int64(run.offset), length: Int64(run.length))
      }
    }
    try endApplying()
  }

  /// Brings every durable commit into the file from the journal.
  internal mutating func applyPending() throws(MappingError) {
    guard durableGeneration == generation, !pending.isEmpty else { return }
    for record in pending {
      try beginApplying(record)
      try journal.replay(record, into: descriptor.number, path: path)
    }
    try endApplying()
  }

  private mutating func beginApplying(_ record: Journal.Record) throws(MappingError) {
    try journal.publish(generation: appliedGeneration, isApplying: true)
    guard record.size > Int64(applied.count) else { return }
    guard pgw_storage_truncate(descriptor.number, record.size) == 0 else {
      throw .last(.commit, path: path, offset: record.size)
    }
  }

  private mutating func endApplying() throws(MappingError) {
    if let last = pending.last, last.size > Int64(applied.count) {
      applied = try Self.mapApplied(descriptor.number, size: Int(last.size), path: path)
      // An open transaction has its changes in the pages that would be dropped.
      if !isInTransaction { try view.attach(size: Int(last.size), path: path) }
    }
    try journal.publish(generation: generation, isApplying: false)
    appliedGeneration = generation
    pending.removeAll(keepingCapacity: true)
    overlay.removeAll()
    applicationError = nil
  }

  // --------------------------------------------------------------------------------------------- failures

  /// Runs what must not fail twice.
  private mutating func final(_ body: (inout Self) throws(MappingError) -> Void) throws(MappingError) {
    do throws(MappingError) { try body(&self) } catch {
      failure = error
      throw error
    }
  }

  /// Runs what follows a commit point: an error belongs to the calls that come.
  private mutating func settle(_ body: (inout Self) throws(MappingError) -> Void) {
    do throws(MappingError) { try body(&self) } catch {
      applicationError = error
      // A full disk can be freed; a device that refused cannot be trusted again.
      if error.code != .noSpace, error.code != .limitExceeded, failure == nil { failure = error }
    }
  }

  internal borrowing func requireSound(_ operation: MappingError.Operation) throws(MappingError) {
    if let failure {
      throw MappingError(.syncFailed, operation: operation, errno: failure.errno, path: path)
    }
    if view.isFaulted || applied.faultFlag.isRaised { throw faultError(operation) }
  }

  internal borrowing func require(
    inTransaction: Bool, _ operation: MappingError.Operation
  ) throws(MappingError) {
    try requireSound(operation)
    guard isInTransaction == inTransaction else {
      throw MappingError(
        .wrongState, operation: operation, path: path,
        detail: .note(inTransaction ? "no transaction has begun" : "a transaction is open"))
    }
  }

  internal borrowing func faultError(_ operation: MappingError.Operation) -> MappingError {
    if let fault = view.fault(count: count) {
      return MappingError(
        fault.code, operation: operation, path: path, offset: fault.offset, length: Int64(fault.lostRange.count))
    }
    if let fault = applied.fault {
      return MappingError(
        fault.code, operation: operation, path: path, offset: fault.offset, length: Int64(fault.lostRange.count))
    }
    return MappingError(.faulted, operation: operation, path: path)
  }
}

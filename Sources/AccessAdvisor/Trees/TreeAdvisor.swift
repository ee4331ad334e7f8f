// SPDX-License-Identifier: Apache-2.0

internal import CPlatform
public import MemoryMapping
internal import PageCache
public import SystemPackage

/// Looks through a folder: which files the library would map and which it would read, and what that gains, measured on a
/// sample of each size.
///
/// Reads only, as ``FileAdvisor``. FIFOs, sockets and devices are counted and never opened.
public struct TreeAdvisor: Sendable {
  /// How to look and to measure.
  public struct Options: Sendable, Hashable {
    /// Time for the measuring, in seconds. The walk comes on top, some microseconds for each entry.
    public var seconds: Double = 5
    /// Evict the sampled files' pages before each timing.
    public var isCold = false
    /// Follow symbolic links. A folder that is met again is not entered again.
    public var followsLinks = false
    /// Leave out folders on other file systems.
    public var staysOnFileSystem = false
    /// For the choice of the sample.
    public var seed: UInt64 = 1

    public init() {}
  }

  public let options: Options

  public init(options: Options = .init()) { self.options = options }

  /// Walks through `path` and measures a sample.
  ///
  /// - Parameters:
  ///   - path: a folder; a symbolic link to one is followed.
  ///   - progress: gets the share that is done (0 while the walk's end is not known) and what is done now.
  ///   - isCancelled: asked often; when true the report has what was found so far.
  /// - Throws: ``MappingError`` when `path` itself cannot be listed. What fails below is counted in ``TreeReport/Walk``.
  /// - Complexity: O(entries) for the walk, then ``Options/seconds``.
  public func advise(
    _ path: FilePath, progress: (Double, String) -> Void = { _, _ in },
    isCancelled: @escaping () -> Bool = { false }
  ) throws(MappingError) -> TreeReport {
    let start = pgw_now_ns()
    var walk = TreeWalk(followsLinks: options.followsLinks, staysOnFileSystem: options.staysOnFileSystem)
    var found = TreeClasses(seed: options.seed)
    var seen = 0
    try walk.run(path, isCancelled: isCancelled) { entry in
      found.add(entry)
      seen += 1
      if seen & 0x3FF == 0 { progress(0, "\(seen) files found") }
    }
    let log = FileSession.EvictionLog()
    var wasCancelled = walk.wasCancelled
    let begin = pgw_now_ns()
    let budget = FileSession.nanoseconds(options.seconds)
    let busy = found.classes.indices.filter { !found.samples[$0].isEmpty }
    for (turn, index) in busy.enumerated() {
      if wasCancelled || isCancelled() {
        wasCancelled = true
        break
      }
      progress(Double(turn) / Double(busy.count), "measuring \(found.samples[index].count) files")
      let spent = pgw_now_ns() - begin
      let left = max(budget > spent ? budget - spent : 0, budget / 50) / UInt64(busy.count - turn)
      var session = ClassSession(options: options, log: log, isCancelled: isCancelled)
      if !session.measure(&found.classes[index], found.samples[index], budget: left) { wasCancelled = true }
      for failure in session.failures { walk.fail(failure) }
    }
    let total = TreeReport.Total(found.classes)
    return TreeReport(
      path: path, classes: found.classes.filter { $0.files > 0 }, walk: walk.counts, total: total,
      isCold: options.isCold, eviction: options.isCold ? log.eviction : nil,
      seconds: Double(pgw_now_ns() - start) / 1e9, isInterrupted: wasCancelled,
      advice: TreeReport.advice(walk.counts, found.classes, total))
  }
}

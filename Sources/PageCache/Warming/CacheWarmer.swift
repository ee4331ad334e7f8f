// SPDX-License-Identifier: Apache-2.0

internal import CPlatform
public import MemoryMapping
internal import Synchronization
public import SystemPackage

/// Brings files into the page cache before somebody waits for them.
///
/// ```swift
/// let report = try CacheWarmer().warm("/srv/index")
/// print(report.brought, report.after.share ?? 0)
/// ```
///
/// Waits for the device on a thread of its own. Windows that are in memory already cost one call and no reading; holes are left out.
/// A file that shrinks or a device that fails raises no signal: nothing is touched, the kernel is asked to load and says what it
/// could not. The pages belong to the control group of this process, as for anybody who reads first.
public struct CacheWarmer: Sendable {
  /// How it warms.
  public let options: Options

  /// - Parameter options: see ``Options``.
  public init(options: Options = .init()) { self.options = options }

  /// Warms one file or a part of it, or all files of a folder.
  ///
  /// - Parameters:
  ///   - path: a regular file or a folder; a symbolic link to one is followed.
  ///   - range: bytes, of each file; nil for all. What lies behind the end of a file is left out.
  ///   - progress: gets the share that is done (0 for folders, whose end is not known) and what is done now. On this thread.
  ///   - isCancelled: asked at the beginning and ten times in a second, on this thread. The window that is being waited for ends first.
  /// - Throws: `MappingError` when `path` itself cannot be opened or listed, or is neither. What fails below is counted in
  ///   ``WarmReport/walk``, what cannot be loaded in ``WarmReport/failed``;
  ///   where nothing of a single file can be had, that is thrown.
  public func warm(
    _ path: FilePath, range: Range<Int64>? = nil, progress: (Double, String) -> Void = { _, _ in },
    isCancelled: () -> Bool = { false }
  ) throws(MappingError) -> WarmReport {
    let kind = try EntryKind.fileOrFolder(path, .init("warm"))
    return try run(path, progress, isCancelled) { run throws(MappingError) in
      if kind == .regular {
        try run.file(path, range: range)
      } else {
        try run.folder(path, range: range)
      }
    }
  }

  /// Warms the ranges of a list.
  ///
  /// - Parameters:
  ///   - list: see ``HotRanges``.
  ///   - progress: as above.
  ///   - isCancelled: as above.
  public func warm(
    _ list: HotRanges, progress: (Double, String) -> Void = { _, _ in }, isCancelled: () -> Bool = { false }
  ) -> WarmReport {
    run(list.path, progress, isCancelled) { run in run.list(list) }
  }

  private func run<E: Error>(
    _ path: FilePath, _ progress: (Double, String) -> Void, _ isCancelled: () -> Bool,
    _ body: @escaping @Sendable (inout WarmRun) throws(E) -> Void
  ) throws(E) -> WarmReport {
    let state = WarmState()
    let options = options
    if isCancelled() { state.isCancelled.store(true, ordering: .relaxed) }
    let outcome = HelperThread.run {
      var run = WarmRun(options, state)
      do throws(E) {
        try body(&run)
        return Result<WarmReport, E>.success(run.report(path))
      } catch {
        return .failure(error)
      }
    } watch: {
      if isCancelled() { state.isCancelled.store(true, ordering: .relaxed) }
      let done = state.done.load(ordering: .relaxed)
      let total = state.total.load(ordering: .relaxed)
      let files = state.files.load(ordering: .relaxed)
      let share = total > 0 ? min(1, Double(done) / Double(total)) : 0
      progress(share, "\(done >> 20) MiB warm" + (files > 1 ? ", \(files) files" : ""))
    }
    return try outcome.get()
  }
}

/// What the two threads share.
internal final class WarmState: Sendable {
  internal let isCancelled = Atomic<Bool>(false)
  /// Bytes that are warm, were skipped or failed.
  internal let done = Atomic<Int64>(0)
  /// Bytes in all; 0 where that is not known.
  internal let total = Atomic<Int64>(0)
  internal let files = Atomic<Int>(0)
}

// SPDX-License-Identifier: Apache-2.0

internal import CPlatform
public import MemoryMapping
internal import PageCache
public import SystemPackage

/// Measures the ways to read one given file.
///
/// Reads only: never writes, syncs or cuts the file, and leaves its access time alone where this user may. What it takes from
/// memory for a cold measurement comes back with the next read.
public struct FileAdvisor: Sendable {
  /// How to measure.
  public struct Options: Sendable, Hashable {
    /// Time to spend on a file, in seconds. Kept within a factor of two, and somewhat above for slow devices.
    public var seconds: Double = 5
    /// Evict the file's pages before each timing.
    public var isCold = false
    /// Where the random places begin.
    public var seed: UInt64 = 1

    public init() {}
  }

  public let options: Options

  public init(options: Options = .init()) { self.options = options }

  /// Measures the file at `path`.
  ///
  /// - Parameters:
  ///   - path: a regular file. A symbolic link is followed.
  ///   - progress: gets the share that is done, 0 to 1, and what is measured now. Called on this thread.
  ///   - isCancelled: asked before each timing. When true the report has the rows so far.
  /// - Throws: ``MappingError``: `notFound`, `permissionDenied`, `isDirectory`, `symbolicLink` for a loop of links,
  ///   `unsupportedFileType` for what is no file, `truncated` and `changed` when it became shorter or other while it was
  ///   measured.
  /// - Complexity: ``Options/seconds``, whatever the size.
  public func advise(
    _ path: FilePath, progress: (Double, String) -> Void = { _, _ in }, isCancelled: @escaping () -> Bool = { false }
  ) throws(MappingError) -> FileReport {
    let start = pgw_now_ns()
    let kind = EntryKind(mode: try EntryKind.stat(path, follows: true).mode)
    if kind == .directory { throw MappingError(.isDirectory, operation: .init("advise on"), path: path) }
    guard kind == .regular else {
      throw MappingError(
        .unsupportedFileType, operation: .init("advise on"), path: path, detail: .note("it is \(kind.words)"))
    }
    let file = try ObservedFile(path)
    let stat = try file.stat(path)
    // Replaced since it was looked at.
    guard EntryKind(mode: stat.mode) == .regular else {
      throw MappingError(.changed, operation: .init("advise on"), path: path)
    }
    let facts = try FileFacts(asking: file.descriptor)
    var description = FileDescription(file, stat: stat, facts: facts)
    var session = FileSession(
      subject: Subject(path, facts: facts, stat: stat), options: options, start: start, isCancelled: isCancelled)
    let results = try session.measure(file, progress: progress)
    if description.facts.pagesPerFault == nil { description.facts.pagesPerFault = session.subject.facts.pagesPerFault }
    let measuring = try session.finish(file, hazards: &description.hazards)
    return FileReport(
      path: path, file: description, results: results, measuring: measuring,
      advice: Advice(description, results, isCold: options.isCold).sentence)
  }
}

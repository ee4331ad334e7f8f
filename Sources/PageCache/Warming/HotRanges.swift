// SPDX-License-Identifier: Apache-2.0

// The format, version 1: text, one record a line, lines end with LF.
//
//   pagewise hot ranges 1
//   file <size in bytes> <time of change in ns since 1970> <path>
//   range <first byte> <byte after the last>
//   ...
//   end <files> <ranges> <checksum>
//
// Ranges belong to the file line before them, ascend and do not touch each other. Numbers are decimal. In a path, every byte that is
// not a printable ASCII character, and `%` itself, stands as `%` and two capital hexadecimal digits. The checksum is the CRC-32C of
// all bytes before the `end` line, in eight small hexadecimal digits.

internal import CPlatform
public import MemoryMapping
public import SystemPackage

#if canImport(Glibc)
  internal import Glibc
#elseif canImport(Musl)
  internal import Musl
#elseif canImport(Darwin)
  internal import Darwin
#endif

/// Which bytes of which files were in memory: a list to be saved before a restart and warmed after it.
///
/// ```swift
/// var hot = HotRanges()
/// try hot.add("/srv/index")
/// try hot.save(to: "/var/lib/app/hot.list")
/// // after the restart
/// CacheWarmer().warm(try HotRanges(contentsOf: "/var/lib/app/hot.list"))
/// ```
public struct HotRanges: Sendable, Hashable {
  /// What was in memory of one file.
  public struct File: Sendable, Hashable {
    /// Absolute, unless it was made by hand.
    public var path: FilePath
    /// Bytes of the file then.
    public var size: Int64
    /// When its content was changed last, in nanoseconds since 1970.
    public var modified: Int64
    /// Bytes, ascending, apart from each other.
    public var ranges: [Range<Int64>]

    public init(path: FilePath, size: Int64, modified: Int64, ranges: [Range<Int64>]) {
      self.path = path
      self.size = size
      self.modified = modified
      self.ranges = ranges
    }
  }

  /// Those that had pages in memory.
  public private(set) var files: [File] = []
  /// Files that are not in the list because the kernel does not tell this user.
  public private(set) var hiddenFiles = 0
  /// Where the list lies; empty while it lies nowhere.
  public private(set) var path: FilePath = ""

  /// A longer list is refused: 1 GiB.
  public static let limit: Int64 = 1 << 30

  /// Empty.
  public init() {}

  /// - Parameter files: ranges that ascend and do not touch each other.
  package init(files: [File]) { self.files = files }

  /// Bytes of all ranges.
  public var bytes: Int64 { files.reduce(0) { $0 + $1.ranges.reduce(0) { $0 + Int64($1.count) } } }
  /// Ranges of all files.
  public var rangeCount: Int { files.reduce(0) { $0 + $1.ranges.count } }

  /// Adds what is in memory of a file, or of all files of a folder.
  ///
  /// - Parameters:
  ///   - path: a regular file or a folder; a symbolic link to one is followed.
  ///   - options: which files of a folder are meant; the rest is not used.
  ///   - progress: gets the share that is done (0: it is not known) and what is done now.
  ///   - isCancelled: asked at each entry; when true the list has what was found so far.
  /// - Returns: the walk through a folder; nil for a single file.
  /// - Throws: `MappingError` when `path` itself cannot be opened or listed, or is neither.
  @discardableResult
  public mutating func add(
    _ path: FilePath, options: CacheWarmer.Options = .init(), progress: (Double, String) -> Void = { _, _ in },
    isCancelled: () -> Bool = { false }
  ) throws(MappingError) -> WalkCounts? {
    let base = try Self.absolute(path)
    if try EntryKind.fileOrFolder(path, .residency) == .regular {
      let file = try ObservedFile(path)
      let stat = try file.regularStat(path, .residency)
      if let failure = add(file.number, stat, base) { throw failure }
      return nil
    }
    var walk = TreeWalk(
      followsLinks: options.followsLinks, staysOnFileSystem: options.staysOnFileSystem, patterns: options.patterns)
    var failures: [MappingError] = []
    var seen = 0
    try walk.run(base, opening: true, isCancelled: isCancelled) { entry in
      // Made only for those that have something in memory.
      let known = CachedPages(descriptor: entry.descriptor, range: 0..<max(0, entry.stat.size))
      hiddenFiles += known.hiddenFiles
      if known.resident > 0, let failure = add(entry.descriptor, entry.stat, entry.path) { failures.append(failure) }
      seen += 1
      if seen & 0xFF == 0 { progress(0, "\(seen) files seen") }
    }
    for failure in failures { walk.fail(failure) }
    return walk.counts
  }

  private mutating func add(_ descriptor: CInt, _ stat: pgw_stat, _ path: FilePath) -> MappingError? {
    do throws(MappingError) {
      let found = try ResidentRanges(of: FileDescriptor(rawValue: descriptor))
      if !found.ranges.isEmpty {
        files.append(File(path: path, size: stat.size, modified: stat.modified_ns, ranges: found.ranges))
      }
      return nil
    } catch {
      var error = error
      error.path = path
      return error
    }
  }

  /// Links in it stay: what they lead to after the restart is what will be read then.
  private static func absolute(_ path: FilePath) throws(MappingError) -> FilePath {
    guard path.isRelative else { return path }
    let here = unsafe pgw_real_path(".")
    guard let here = unsafe here else { throw .failed(.init("find the folder of"), path) }
    defer { unsafe free(here) }
    return unsafe FilePath(platformString: here).pushing(path)
  }

  /// Replaces a file by this list, all at once.
  ///
  /// - Throws: as `replaceFile`.
  public mutating func save(to path: FilePath) throws(MappingError) {
    var text = "pagewise hot ranges 1\n"
    for file in files {
      text += "file \(file.size) \(file.modified) \(Self.escaped(file.path))\n"
      for range in file.ranges { text += "range \(range.lowerBound) \(range.upperBound)\n" }
    }
    text += "end \(files.count) \(rangeCount) \(Self.checksum(Array(text.utf8)[...]))\n"
    let bytes = Array(text.utf8)
    try unsafe replaceFile(path, with: bytes.span.bytes)
    self.path = path
  }

  /// Reads a list.
  ///
  /// - Throws: `MappingError`: `unknownFormat` for what is no list or of a later version, `corrupt` with the line for one that is
  ///   cut or changed, `limitExceeded` beyond ``limit``, and what opening and reading say.
  public init(contentsOf path: FilePath) throws(MappingError) {
    let file = try ObservedFile(path)
    let stat = try file.stat(path)
    guard EntryKind(mode: stat.mode) == .regular else {
      throw MappingError(.unsupportedFileType, operation: .read, path: path)
    }
    guard stat.size <= Self.limit else {
      throw MappingError(.limitExceeded, operation: .read, path: path, detail: .limit(Self.limit))
    }
    var bytes = [UInt8](repeating: 0, count: Int(stat.size))
    var failure: MappingError? = nil
    unsafe bytes.withUnsafeMutableBytes { buffer in
      guard let base = buffer.baseAddress else { return }
      do throws(MappingError) {
        try unsafe file.read(0, into: base, count: buffer.count, path: path)
      } catch {
        failure = error
      }
    }
    if let failure { throw failure }
    try self.init(bytes: bytes, path: path)
  }

  /// - Parameter path: for errors.
  package init(bytes: [UInt8], path: FilePath) throws(MappingError) {
    self.path = path
    var reader = HotRangesReader(bytes: bytes, path: path)
    files = try reader.read()
  }

  /// Eight digits.
  internal static func checksum(_ bytes: ArraySlice<UInt8>) -> String {
    let sum = unsafe bytes.withUnsafeBytes { unsafe pgw_crc32c(0, $0.baseAddress, $0.count) }
    let digits = String(sum, radix: 16)
    return String(repeating: "0", count: 8 - digits.count) + digits
  }

  private static func escaped(_ path: FilePath) -> String {
    let digits = Array("0123456789ABCDEF".utf8)
    var out: [UInt8] = []
    unsafe path.withPlatformString { start in
      var at = 0
      while unsafe start[at] != 0 {
        let byte = UInt8(bitPattern: unsafe start[at])
        if byte > 0x20, byte < 0x7F, byte != 0x25 {
          out.append(byte)
        } else {
          out += [0x25, digits[Int(byte >> 4)], digits[Int(byte & 15)]]
        }
        at += 1
      }
    }
    return String(decoding: out, as: UTF8.self)
  }
}

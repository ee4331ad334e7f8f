// SPDX-License-Identifier: Apache-2.0

internal import CPlatform
public import MemoryMapping
public import SystemPackage

/// What the page cache holds of one file, or of many, whoever put it there.
///
/// In pages of `SystemPage.size` bytes. The kernel tells of files that this user owns or may write; of others it refuses to
/// tell (`cachestat`), or says that all is resident, which is not true (`mincore`). Such files are counted as ``hiddenFiles``, and are
/// in no sum. C: `cachestat` (Linux 6.5), else `mincore`.
public struct CachedPages: Sendable, Hashable {
  /// Pages that the known files have, the last one of each counted whole.
  public private(set) var pages: Int64 = 0
  /// Pages of them in memory.
  public private(set) var resident: Int64 = 0
  /// Pages that wait for their write-back. Counted in whole folios: one stored byte can count as 2 MiB.
  public private(set) var dirty: Int64 = 0
  /// Pages that are being written back now.
  public private(set) var inWriteBack: Int64 = 0
  /// Pages that were in memory and were taken away, as far as the kernel still remembers it.
  public private(set) var evicted: Int64 = 0
  /// Those of them that went so lately that they would come back as active: the cache is too small for who reads them.
  public private(set) var recentlyEvicted: Int64 = 0
  /// Files that the kernel told of.
  public private(set) var knownFiles = 0
  /// Known files of which only ``resident`` is known: before Linux 6.5, and on Darwin.
  public private(set) var undetailedFiles = 0
  /// Files that it hides from this user, who neither owns nor may write them.
  public private(set) var hiddenFiles = 0
  /// Files that it cannot tell of: in huge page file systems, or what cannot be mapped before Linux 6.5.
  public private(set) var unknownFiles = 0

  /// True when every file is known.
  public var isComplete: Bool { hiddenFiles == 0 && unknownFiles == 0 }
  /// True when ``dirty``, ``inWriteBack``, ``evicted`` and ``recentlyEvicted`` are of all known files.
  public var hasDetails: Bool { undetailedFiles == 0 }
  /// The resident share of the known files, 0 to 1; nil when none is known or they are empty.
  public var share: Double? { pages > 0 ? Double(resident) / Double(pages) : nil }

  /// Of no file.
  public init() {}

  /// Asks for a range of an open file.
  ///
  /// - Parameters:
  ///   - descriptor: open for reading.
  ///   - range: bytes of the file, widened to whole pages; nil for all of it. What lies behind the end of the file is left out.
  /// - Throws: what `fstat` says. A kernel that does not tell is no error: see ``hiddenFiles`` and ``unknownFiles``.
  /// - Complexity: one call that walks what is in memory: microseconds where that is in large folios, 20 ns a page where not.
  public init(of descriptor: FileDescriptor, range: Range<Int64>? = nil) throws(MappingError) {
    var stat = pgw_stat()
    guard unsafe pgw_fstat(descriptor.rawValue, &stat) == 0 else {
      throw MappingError(.other, operation: .stat, errno: MappingError.currentErrno)
    }
    self.init(descriptor: descriptor.rawValue, range: (range ?? 0..<stat.size).clamped(to: 0..<max(0, stat.size)))
  }

  /// - Parameter range: inside the file.
  package init(descriptor: CInt, range: Range<Int64>) {
    let page = Int64(SystemPage.size)
    let first = range.lowerBound / page
    let last = (range.upperBound - 1) / page
    guard !range.isEmpty else {
      knownFiles = 1
      return
    }
    let count = last - first + 1
    var state = pgw_cache_state()
    // A length of 0 would reach to the end, and to pages behind it; and a whole folio reaches behind the end of its file.
    if unsafe pgw_cachestat(descriptor, UInt64(first * page), UInt64(count * page), &state) == 0 {
      resident = min(Int64(clamping: state.cached), count)
      dirty = min(Int64(clamping: state.dirty), count)
      inWriteBack = min(Int64(clamping: state.writeback), count)
      evicted = Int64(clamping: state.evicted)
      recentlyEvicted = Int64(clamping: state.recently_evicted)
    } else {
      switch MappingError.currentErrno {
      case .notPermitted, .permissionDenied:
        hiddenFiles = 1
        return
      case .noFunction, .notSupportedOnSocket, .notSupported:
        guard pgw_may_write(descriptor) else {
          hiddenFiles = 1
          return
        }
        guard let told = PageVector.resident(descriptor, first: first, count: count) else {
          unknownFiles = 1
          return
        }
        resident = told
        undetailedFiles = 1
      default:
        unknownFiles = 1
        return
      }
    }
    pages = count
    knownFiles = 1
  }

  /// Adds those of other files.
  ///
  /// - Parameter other: of files that are not in this one yet.
  public mutating func add(_ other: CachedPages) {
    pages += other.pages
    resident += other.resident
    dirty += other.dirty
    inWriteBack += other.inWriteBack
    evicted += other.evicted
    recentlyEvicted += other.recentlyEvicted
    knownFiles += other.knownFiles
    undetailedFiles += other.undetailedFiles
    hiddenFiles += other.hiddenFiles
    unknownFiles += other.unknownFiles
  }
}

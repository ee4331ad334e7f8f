// SPDX-License-Identifier: Apache-2.0

internal import CPlatform
public import MemoryMapping
public import SystemPackage

/// Which bytes of a file are in memory.
public struct ResidentRanges: Sendable, Hashable {
  /// In bytes of the file, ascending, apart from each other. All begin at page borders and all but the last end at one; the last
  /// can end with the file.
  public let ranges: [Range<Int64>]
  /// True when there are more ranges than were asked for.
  public let isTruncated: Bool

  /// Finds out which bytes of an open file are in memory.
  ///
  /// - Parameters:
  ///   - descriptor: open for reading.
  ///   - range: bytes of the file, widened to whole pages; nil for all of it.
  ///   - limit: how many ranges to give at most. One takes 16 bytes.
  /// - Throws: `permissionDenied` where the kernel hides it from this user, `notSupported` where it does not know; what `fstat` says.
  /// - Complexity: large parts that are wholly in memory or wholly not cost one call each, so a file with one resident gigabyte in a
  ///   terabyte costs some dozens; 20 ns for each page of parts that are mixed.
  public init(
    of descriptor: FileDescriptor, range: Range<Int64>? = nil, limit: Int = 1 << 20
  ) throws(MappingError) {
    var stat = pgw_stat()
    guard unsafe pgw_fstat(descriptor.rawValue, &stat) == 0 else {
      throw MappingError(.other, operation: .stat, errno: MappingError.currentErrno)
    }
    let size = max(0, stat.size)
    var search = Search(descriptor: descriptor.rawValue, limit: max(0, limit))
    let asked = (range ?? 0..<size).clamped(to: 0..<size)
    if !asked.isEmpty {
      let page = Int64(SystemPage.size)
      try search.look(first: asked.lowerBound / page, last: (asked.upperBound - 1) / page, known: nil)
    }
    ranges = search.ranges(size: size)
    isTruncated = search.isTruncated
  }

  /// Finds out which bytes of a file are in memory. It is opened without a trace.
  public init(of path: FilePath, range: Range<Int64>? = nil, limit: Int = 1 << 20) throws(MappingError) {
    let file = try ObservedFile(path)
    do throws(MappingError) {
      try self.init(of: file.descriptor, range: range, limit: limit)
    } catch {
      var error = error
      error.path = path
      throw error
    }
  }

  /// Halves what is mixed until a part is small enough to be asked page by page.
  private struct Search {
    let descriptor: CInt
    let limit: Int
    private var found: [Range<Int64>] = []
    private(set) var isTruncated = false
    /// Pages that are asked page by page: 2 MiB.
    private static let leaf: Int64 = 512

    init(descriptor: CInt, limit: Int) {
      self.descriptor = descriptor
      self.limit = limit
    }

    mutating func look(first: Int64, last: Int64, known: Int64?) throws(MappingError) {
      guard !isTruncated else { return }
      let count = last - first + 1
      let page = Int64(SystemPage.size)
      var resident = known
      if resident == nil {
        let told = CachedPages(descriptor: descriptor, range: first * page..<(last + 1) * page)
        if told.hiddenFiles > 0 {
          throw MappingError(
            .permissionDenied, operation: .residency, errno: .notPermitted,
            detail: .note("the kernel tells only who owns the file or may write it"))
        }
        guard told.knownFiles > 0 else {
          throw MappingError(
            .notSupported, operation: .residency, detail: .note("the file system does not tell what is in memory"))
        }
        resident = told.resident
      }
      switch resident {
      case 0: return
      case count: add(first..<last + 1)
      case _ where count <= Self.leaf:
        var runs: [Range<Int64>] = []
        let isWhole = unsafe PageVector.each(descriptor, first: first, count: count) { start, bytes in
          for index in bytes.indices where unsafe bytes[index] & 1 != 0 {
            let at = start + Int64(index)
            if let last = runs.last, last.upperBound == at {
              runs[runs.count - 1] = last.lowerBound..<at + 1
            } else {
              runs.append(at..<at + 1)
            }
          }
        }
        if isWhole {
          for run in runs { add(run) }
        } else if count > 1 {
          // What cannot be mapped is halved to single pages.
          try halve(first, last)
        }
      default: try halve(first, last)
      }
    }

    private mutating func halve(_ first: Int64, _ last: Int64) throws(MappingError) {
      let middle = first + (last - first) / 2
      try look(first: first, last: middle, known: nil)
      try look(first: middle + 1, last: last, known: nil)
    }

    private mutating func add(_ pages: Range<Int64>) {
      if let last = found.last, last.upperBound == pages.lowerBound {
        found[found.count - 1] = last.lowerBound..<pages.upperBound
      } else if found.count < limit {
        found.append(pages)
      } else {
        isTruncated = true
      }
    }

    func ranges(size: Int64) -> [Range<Int64>] {
      let page = Int64(SystemPage.size)
      return found.map { $0.lowerBound * page..<min($0.upperBound * page, size) }.filter { !$0.isEmpty }
    }
  }
}

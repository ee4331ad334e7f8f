// SPDX-License-Identifier: Apache-2.0

internal import CPlatform
internal import MemoryMapping
public import SystemPackage

/// What the page cache holds of one file.
public struct FileResidency: Sendable, Hashable {
  /// As it was given, or below the folder that was.
  public let path: FilePath
  /// Bytes of the file.
  public let size: Int64
  /// Bytes of storage that it has: less than ``size`` where it has holes.
  public let allocated: Int64
  /// What of it is in memory. One file: either known, or hidden, or not known.
  public let pages: CachedPages
  /// Names that the file has.
  public let links: Int
  /// How many pages one fault maps: large when the file came into the cache in large folios. The median of seven samples; nil when it
  /// was not asked for, or nothing is in memory where it was looked for.
  public internal(set) var pagesPerFault: Int? = nil
  /// The resident share, 0 to 1, of equal parts of the file from its start; fewer parts than asked for when it has fewer pages. Empty
  /// when it was not asked for or is not known.
  public internal(set) var shares: [Double] = []

  internal init(path: FilePath, stat: pgw_stat, pages: CachedPages) {
    self.path = path
    size = stat.size
    allocated = stat.allocated
    links = Int(stat.links)
    self.pages = pages
  }

  /// Asks for what costs more than one call.
  internal mutating func addDetails(_ descriptor: CInt, parts: Int, sampling: Bool) {
    guard pages.knownFiles > 0 else { return }
    if parts > 0, shares.isEmpty {
      shares = CachedPages.parts(descriptor: descriptor, size: size, parts: parts).parts.map { $0.share ?? 0 }
    }
    if sampling, pages.resident > 0 { pagesPerFault = Self.pagesPerFault(descriptor, size: size, in: 0..<size) }
  }

  /// The median of samples in parts that are in memory. Each maps 4 MiB of the file and touches one page.
  internal static func pagesPerFault(_ descriptor: CInt, size: Int64, in range: Range<Int64>) -> Int? {
    let page = Int64(SystemPage.size)
    let parts: Int64 = 64
    var places: [Int64] = []
    for part in 0..<parts {
      // The middle page of each of the equal parts.
      let middle = range.lowerBound + Int64(Int128(range.count) * Int128(2 * part + 1) / Int128(2 * parts))
      if places.last.map({ middle / page > $0 / page }) ?? true,
        CachedPages(descriptor: descriptor, range: middle..<min(size, middle + 1)).resident > 0
      {
        places.append(middle)
      }
    }
    let wanted = min(7, places.count)
    let samples = (0..<wanted).compactMap { index in
      FileFacts.pagesPerFault(
        of: FileDescriptor(rawValue: descriptor), size: size,
        around: places[(2 * index + 1) * places.count / (2 * wanted)])
    }.sorted()
    return samples.isEmpty ? nil : samples[samples.count / 2]
  }
}

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
  /// How many pages one fault maps: large when the file came into the cache in large folios. From a sample in the part that has most
  /// in memory; nil when it was not asked for, or the place of the sample is not in memory.
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
    if parts > 0 { shares = Self.shares(descriptor, size: size, pages: pages, parts: parts) }
    guard sampling, pages.resident > 0 else { return }
    // In the middle of the part that has most; a place that is not in memory would have to be loaded.
    let told = shares.isEmpty ? Self.shares(descriptor, size: size, pages: pages, parts: 64) : shares
    guard let fullest = told.indices.max(by: { told[$0] < told[$1] }) else { return }
    let middle = Int64(Double(size) * (Double(fullest) + 0.5) / Double(told.count))
    pagesPerFault = FileFacts.pagesPerFault(
      of: FileDescriptor(rawValue: descriptor), size: size, around: middle)
  }

  private static func shares(_ descriptor: CInt, size: Int64, pages: CachedPages, parts: Int) -> [Double] {
    let count = min(Int64(parts), pages.pages)
    guard count > 0 else { return [] }
    if pages.resident == 0 || pages.resident == pages.pages {
      return [Double](repeating: pages.resident == 0 ? 0 : 1, count: Int(count))
    }
    let page = Int64(SystemPage.size)
    return (0..<count).map { part in
      // Multiplied in 128 bits: a sparse file can have 2^51 pages.
      let first = Int64(Int128(pages.pages) * Int128(part) / Int128(count))
      let end = Int64(Int128(pages.pages) * Int128(part + 1) / Int128(count))
      return CachedPages(descriptor: descriptor, range: first * page..<end * page).share ?? 0
    }
  }
}

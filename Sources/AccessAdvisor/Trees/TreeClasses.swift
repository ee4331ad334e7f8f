// SPDX-License-Identifier: Apache-2.0

internal import CPlatform
internal import MemoryMapping
internal import PageCache
internal import SystemPackage

/// The files of a tree by size, with a random sample of each class.
internal struct TreeClasses {
  internal var classes: [TreeReport.SizeClass]
  internal private(set) var samples: [[FilePath]]
  private var places: RandomPlaces

  internal static let bounds: [Int64?] = [
    0, 4 << 10, 16 << 10, 64 << 10, 256 << 10, 1 << 20, 16 << 20, 256 << 20, nil,
  ]

  internal init(seed: UInt64) {
    classes = Self.bounds.map { TreeReport.SizeClass(upperBound: $0) }
    samples = Self.bounds.map { _ in [] }
    places = RandomPlaces(seed: seed)
  }

  /// How many files of a class are measured: many small ones, few large ones.
  internal static func sampleSize(_ index: Int) -> Int { index <= 4 ? 32 : index <= 6 ? 8 : 2 }

  internal mutating func add(_ entry: TreeWalk.Entry) {
    let size = entry.stat.size
    let index = Self.bounds.firstIndex { $0.map { size <= $0 } ?? true } ?? Self.bounds.count - 1
    classes[index].files += 1
    classes[index].bytes += size
    // Below a page it is only rounding, or a file so small that it lies in its inode.
    if size - entry.stat.allocated >= 4096 {
      classes[index].sparseFiles += 1
      classes[index].holeBytes += size - entry.stat.allocated
    }
    var facts = FileFacts(type: .regular, size: size)
    facts.fileSystem = entry.fileSystem
    switch FileBytes.decide(facts: facts, access: .onceWhole).strategy {
    case .map, .mapPopulate: classes[index].wouldMap += 1
    case .read, .stream: classes[index].wouldRead += 1
    }
    guard size > 0 else { return }
    // Reservoir sampling: each file has the same chance, however many follow.
    let limit = Self.sampleSize(index)
    if samples[index].count < limit {
      samples[index].append(entry.path)
    } else {
      let place = places.next(below: Int64(classes[index].files))
      if place < Int64(limit) { samples[index][Int(place)] = entry.path }
    }
  }
}

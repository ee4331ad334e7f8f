// SPDX-License-Identifier: Apache-2.0

import MemoryMapping
import SystemPackage
import Testing
import _TestSupport

/// Random operations on an array and on a model of what stands where.
@Suite struct MappedArrayModelTests {
  /// What the file holds: an element in place stays where it was stored, whatever the number of rows is.
  struct Model {
    let width: Int
    let isAtomic: Bool
    var places: [Int32] = []
    var rows = 0
    var committedPlaces: [Int32] = []
    var committedRows = 0

    var elements: [Int32] { Array(places[..<(rows * width)]) }

    mutating func set(_ place: Int, _ value: Int32) {
      if place >= places.count { places += [Int32](repeating: 0, count: place + 1 - places.count) }
      places[place] = value
    }

    mutating func resize(_ newRows: Int) {
      for place in rows * width..<max(rows, newRows) * width { set(place, 0) }
      rows = newRows
    }

    mutating func commit() { (committedPlaces, committedRows) = (places, rows) }

    /// A rollback, or a close without a commit.
    mutating func forget() {
      if isAtomic { places = committedPlaces }
      rows = committedRows
    }
  }

  @Test(arguments: MappedArrayTests.modes, [1, 3])
  func `ten thousand random operations do what they do to a Swift array`(
    _ mode: MappedArrayMode, _ width: Int
  ) throws {
    let folder = try TemporaryDirectory(in: TransactionalCrashTests.shm())
    let path = folder.appending("a.npy")
    let shape = width == 1 ? [0] : [0, width]
    var array = try MappedArray<Int32>(path, creating: .ifMissing(shape: shape), mode: mode)
    var model = Model(width: width, isAtomic: mode == .atomic)
    var random = Random(seed: UInt64(width) + (mode == .atomic ? 100 : 0))
    var kinds = [Int](repeating: 0, count: 10)
    func value() -> Int32 { Int32(truncatingIfNeeded: random.next() | 1) }
    for number in 0..<10_000 {
      let kind = random.below(100)
      switch kind {
      case 0..<25:
        let rows = random.below(random.below(10) == 0 ? 4000 : 4)
        let elements = (0..<rows * width).map { _ in value() }
        if elements.count == 1, width == 1 {
          try array.append(elements[0])
        } else {
          try array.append(contentsOf: elements.span)
        }
        for (index, element) in elements.enumerated() { model.set(model.rows * width + index, element) }
        model.rows += rows
        kinds[0] += 1
      case 25..<55 where model.rows > 0:
        let place = random.below(model.rows * width)
        let new = value()
        try array.store(new, at: place)
        model.set(place, new)
        kinds[1] += 1
      case 55..<65 where model.rows > 0:
        let lower = random.below(model.rows * width)
        let upper = min(lower + random.below(3000), model.rows * width)
        let new = value()
        try array.withMutableSpan(lower..<upper) { span in
          for index in span.indices { span[index] = new &+ Int32(index) }
        }
        for place in lower..<upper { model.set(place, new &+ Int32(place - lower)) }
        kinds[2] += 1
      case 65..<80 where model.rows > 0:
        let place = random.below(model.rows * width)
        #expect(try array.element(at: place) == model.places[place])
        kinds[3] += 1
      case 80..<88:
        let newRows = random.below(3) == 0 ? random.below(max(1, model.rows)) : model.rows + random.below(200)
        try array.resize(to: newRows)
        model.resize(newRows)
        kinds[4] += 1
      case 88..<95:
        try array.commit()
        model.commit()
        kinds[5] += 1
      case 95..<97 where mode == .atomic:
        try array.rollback()
        model.forget()
        kinds[6] += 1
      case 97:
        // Every other time without a close, as a process that is killed.
        if random.below(2) == 0 { try array.close() } else { Self.end(array) }
        array = try MappedArrayTests.reopen(path, mode: mode)
        model.forget()
        kinds[7] += 1
      case 98 where model.rows > 50_000:
        try array.resize(to: 100)
        model.resize(100)
      default: break
      }
      try #require(
        array.rowCount == model.rows && array.committedRowCount == model.committedRows, "operation \(number)")
      if number % 50 == 0 {
        try #require(try MappedArrayTests.all(array) == model.elements, "operation \(number), \(kind)")
      }
    }
    #expect(try MappedArrayTests.all(array) == model.elements)
    try array.commit()
    model.commit()
    try array.close()
    #expect(try MappedArrayTests.stored(path, Int32.self) == model.elements)
    #expect(kinds[0..<6].allSatisfy { $0 > 100 } && kinds[7] > 50, "\(kinds)")
  }

  static func end(_ array: consuming MappedArray<Int32>) {}
}

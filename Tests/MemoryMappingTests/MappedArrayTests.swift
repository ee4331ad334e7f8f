// SPDX-License-Identifier: Apache-2.0

import MemoryMapping
import SystemPackage
import Testing
import _TestSupport

/// A struct of a program: stored as raw bytes.
struct Sample: FixedLayout, Equatable {
  var time: UInt64
  var price: Double
  var size: UInt32
  var flags: UInt32

  static func describeLayout(_ layout: inout LayoutDescription<Sample>) {
    layout.field(\.time)
    layout.field(\.price)
    layout.field(\.size)
    layout.field(\.flags)
  }
}

@Suite struct MappedArrayTests {
  static func note(_ error: (any Error)?) -> String {
    if case .note(let note)? = (error as? MappingError)?.detail {
      note
    } else {
      "no note in \(String(describing: error))"
    }
  }

  static func all<T: FixedLayout>(_ array: borrowing MappedArray<T>) throws -> [T] {
    try array.withSpan { span in span.indices.map { span[$0] } }
  }

  static func stored<T: FixedLayout>(_ path: FilePath, _ type: T.Type = T.self) throws -> [T] {
    try MappedArrayReader<T>(path).elements()
  }

  static let modes: [MappedArrayMode] = [.inPlace, .atomic]

  /// Opens again what was just closed. A child that another test is starting has a copy of each descriptor, and with it the lock,
  /// until it becomes its program.
  static func reopen<T: FixedLayout>(
    _ path: FilePath, _ type: T.Type = T.self, creating creation: MappedArrayCreation = .never, mode: MappedArrayMode,
    minimumHeaderSize: Int = 0, transactions: TransactionalFile.Options = .init()
  ) throws -> MappedArray<T> {
    for attempt in 0... {
      do throws(MappingError) {
        return try MappedArray<T>(
          path, creating: creation, mode: mode, minimumHeaderSize: minimumHeaderSize, transactions: transactions)
      } catch {
        guard error.code == .busy, attempt < 1000 else { throw error }
        _ = try? Child.succeeds("sleep", "0.01")
      }
    }
    fatalError("there is always another attempt")
  }

  @Test(arguments: modes) func `what was appended is there for others after a commit, and after a close`(
    _ mode: MappedArrayMode
  ) throws {
    let folder = try TemporaryDirectory()
    let path = folder.appending("a.npy")
    var array = try MappedArray<Int32>(path, creating: .ifMissing(shape: [0, 3]), mode: mode)
    #expect(array.shape == [0, 3] && array.isEmpty == true && array.strides == [3, 1] && array.elementsPerRow == 3)
    try array.append(contentsOf: [1, 2, 3, 4, 5, 6].span)
    #expect(array.rowCount == 2 && array.count == 6 && array.committedRowCount == 0)
    #expect(try Self.stored(path, Int32.self) == [])
    try array.commit()
    #expect(array.committedRowCount == 2)
    #expect(try Self.stored(path, Int32.self) == [1, 2, 3, 4, 5, 6])
    #expect(try MappedArrayReader<Int32>(path).shape == [2, 3])
    #expect(try array.element(at: 4) == 5 && array.element(at: [1, 1]) == 5)

    try array.store(50, at: [1, 1])
    try array.withMutableSpan(0..<2) { $0[1] = 20 }
    #expect(try Self.all(array) == [1, 20, 3, 4, 50, 6])
    #expect(try Self.stored(path, Int32.self) == (mode == .inPlace ? [1, 20, 3, 4, 50, 6] : [1, 2, 3, 4, 5, 6]))
    try array.commit()
    try array.append(contentsOf: [7, 8, 9].span)
    // Not committed: not in the array.
    try array.close()
    #expect(try TransactionalFileTests.content(path).count == 128 + 6 * 4)
    let again = try Self.reopen(path, Int32.self, creating: .ifMissing(shape: [77, 3]), mode: mode)
    #expect(try Self.all(again) == [1, 20, 3, 4, 50, 6])
  }

  @Test func `a rollback forgets elements, rows and their number`() throws {
    let folder = try TemporaryDirectory()
    let path = folder.appending("a.npy")
    var array = try MappedArray<Int32>(path, creating: .exclusive(shape: [3]), mode: .atomic)
    try array.store(7, at: 1)
    try array.commit()
    for newCount in [0, 2, 5, 5000] {
      try array.resize(to: newCount)
      try array.append(9)
      try array.store(1, at: 0)
      try array.rollback()
      #expect(try Self.all(array) == [0, 7, 0])
    }
    try array.resize(to: 1)
    try array.commit()
    try array.resize(to: 3)
    // The 7 was cut off: new rows are zeros.
    #expect(try Self.all(array) == [0, 0, 0])
    try array.commit()
    #expect(try Self.stored(path, Int32.self) == [0, 0, 0])
    var inPlace = try MappedArray<Int32>(folder.appending("b.npy"), creating: .exclusive(shape: [3]))
    let error = #expect(throws: MappingError.self) { try inPlace.rollback() }
    #expect(error?.code == .notSupported)
  }

  @Test func `many appends make the file longer a few times, and close cuts it`() throws {
    let folder = try TemporaryDirectory()
    let path = folder.appending("a.npy")
    var array = try MappedArray<UInt64>(path, creating: .ifMissing(shape: [0]))
    var sizes: Set<Int> = []
    for number in 0..<300_000 as Range<UInt64> {
      try array.append(number)
      if number % 1000 == 0 { sizes.insert(array.capacity) }
    }
    #expect(sizes.count < 20 && array.capacity >= array.count)
    try array.commit()
    try array.close()
    #expect(try TransactionalFileTests.content(path).count == 128 + 300_000 * 8)
    let sum = try MappedArrayReader<UInt64>(path).withSpan { span in span.indices.reduce(0) { $0 + span[$1] } }
    #expect(sum == 299_999 * 300_000 / 2)
  }

  @Test func `fewer rows cost no reader a page: the file is cut once nobody has it open`() throws {
    let folder = try TemporaryDirectory()
    let path = folder.appending("a.npy")
    let rows = 100_000
    var array = try MappedArray<UInt32>(path, creating: .ifMissing(shape: [0]))
    try array.append(contentsOf: [UInt32](repeating: 5, count: rows).span)
    try array.commit()
    do {
      let reader = try MappedArrayReader<UInt32>(path)
      try array.resize(to: 10)
      try array.commit()
      #expect(try reader.element(at: rows - 1) == 5)
      #expect(try TransactionalFileTests.content(path).count >= 128 + rows * 4)
      #expect(try Self.stored(path, UInt32.self).count == 10)
    }
    try array.resize(to: 20)
    #expect(try Self.all(array) == [UInt32](repeating: 5, count: 10) + [UInt32](repeating: 0, count: 10))
    try array.resize(to: 5)
    try array.commit()
    #expect(try TransactionalFileTests.content(path).count == 128 + 5 * 4)
    try array.append(1)
    try array.commit()
    try array.close()
    #expect(try Self.stored(path, UInt32.self) == [5, 5, 5, 5, 5, 1])
  }

  @Test func `a struct is stored as raw bytes, and one of another size is refused`() throws {
    let folder = try TemporaryDirectory()
    let path = folder.appending("ticks.npy")
    var array = try MappedArray<Sample>(path, creating: .ifMissing(shape: [0]))
    let ticks = (0..<10).map { Sample(time: UInt64($0), price: 0.5, size: 3, flags: 4) }
    try array.append(contentsOf: ticks.span)
    try array.append(ticks[3])
    try array.commit()
    try array.close()
    #expect("\(try NumPyHeader(readingFrom: path).elementType)" == "|V24")
    #expect(try Self.stored(path, Sample.self) == ticks + [ticks[3]])
    var error = #expect(throws: MappingError.self) { _ = try Self.reopen(path, UInt64.self, mode: .inPlace) }
    #expect(Self.note(error) == "its elements are |V24 of 24 bytes, and UInt64 has 8")
    struct Three: FixedLayout {
      var a: UInt64, b: UInt64, c: UInt64, d: UInt64
      static func describeLayout(_ layout: inout LayoutDescription<Three>) { layout.field(\.a) }
    }
    error = #expect(throws: MappingError.self) { _ = try MappedArray<Three>(path) }
    #expect(error?.code == .invalidLayout && Self.note(error).contains("no field covers bytes 8..<32"))
    #expect(try Self.stored(path, [3 of UInt64].self).count == 11)
  }

  @Test(arguments: modes) func `a second writer is refused, also after the array has grown, until the first ends`(
    _ mode: MappedArrayMode
  ) throws {
    let folder = try TemporaryDirectory()
    let path = folder.appending("a.npy")
    var array = try MappedArray<Int32>(path, creating: .ifMissing(shape: [1]), mode: mode)
    for round in 0..<3 {
      #expect { _ = try MappedArray<Int32>(path, mode: mode) } throws: { ($0 as? MappingError)?.code == .busy }
      try array.resize(to: 10_000 << round)
      try array.commit()
    }
    try array.close()
    _ = try MappedArray<Int32>(path, mode: mode)
  }

  @Test func `what does not fit is refused with the reason`() throws {
    let folder = try TemporaryDirectory()
    func file(_ text: String, data: Int = 64, total: Int = 128) throws -> FilePath {
      try folder.file(
        "bad.npy", NumPyHeaderTests.golden(text, total: total) + [UInt8](repeating: 0, count: data))
    }
    func dictionary(_ descr: String, _ shape: String, order: String = "False") -> String {
      "{'descr': '\(descr)', 'fortran_order': \(order), 'shape': \(shape), }"
    }
    let rows: [(String, Int, Int, String)] = [
      (dictionary("<f4", "(2,)"), 64, 128, "its elements are <f4, and Int32 is <i4"),
      (dictionary("<u4", "(2,)"), 64, 128, "its elements are <u4, and Int32 is <i4"),
      (dictionary("|V4", "(2,)"), 64, 128, "its elements are |V4, and Int32 is <i4"),
      (dictionary("<i8", "(2,)"), 64, 128, "its elements are <i8 of 8 bytes, and Int32 has 4"),
      (dictionary("|O", "(2,)"), 64, 128, "descr '|O' is an object type, whose elements are pickled and not laid out"),
      (
        dictionary("<i4", "(2, 2)", order: "True"), 64, 128,
        "its elements are in Fortran order; let NumPy write it with order='C'"
      ),
      (
        dictionary("<i4", "(2, 9)"), 71, 128,
        "its header states <i4 elements of shape (2, 9) up to byte 200, and the file ends at byte 199"
      ),
      (
        dictionary("<i4", "(2,)"), 64, 101,
        "its elements begin at byte 101, and Int32 needs a multiple of 4; MappedArrayReader copies them"
      ),
      (
        dictionary(">i4", "(2,)"), 64, 128,
        "its elements are >i4, in the other byte order; MappedArrayReader turns them, or let NumPy write the file anew"
      ),
    ]
    for (text, data, total, reason) in rows {
      let path = try file(text, data: data, total: total)
      for mode in Self.modes {
        let error = #expect(throws: MappingError.self, "\(text)") { _ = try MappedArray<Int32>(path, mode: mode) }
        #expect(error?.code == .invalidLayout && Self.note(error) == reason)
        #expect(error?.path == path)
      }
    }
    // The reader takes the last two.
    #expect(try Self.stored(try file(dictionary("<i4", "(2,)"), total: 101), Int32.self) == [0, 0])
    #expect(try Self.stored(try file(dictionary(">i4", "(2,)")), Int32.self) == [0, 0])
    let path = try file(dictionary("<i4", "(2, 3)"))
    let error = #expect(throws: MappingError.self) {
      _ = try MappedArray<Int32>(path, creating: .ifMissing(shape: [0, 4]))
    }
    #expect(Self.note(error) == "its shape is (2, 3), and (0, 4) was asked for")
    #expect { _ = try MappedArray<Int32>(path, creating: .exclusive(shape: [0])) } throws: {
      ($0 as? MappingError)?.code == .alreadyExists
    }
    let first = try MappedArray<Int32>(path)
    #expect { _ = try MappedArray<Int32>(path) } throws: { ($0 as? MappingError)?.code == .busy }
    #expect(first.count == 6)
  }

  @Test func `any index and any length is an error or right, never a trap`() throws {
    let folder = try TemporaryDirectory()
    for mode in Self.modes {
      var array = try MappedArray<Int32>(
        folder.appending("\(mode).npy"), creating: .ifMissing(shape: [4, 5]), mode: mode)
      for index in [-1, 20, .min, .max, .max / 4] {
        #expect(throws: MappingError.self) { _ = try array.element(at: index) }
        #expect(throws: MappingError.self) { try array.store(1, at: index) }
      }
      for indices in [[], [1], [4, 0], [0, 5], [-1, 0], [0, .max], [.min, 0], [0, 0, 0]] as [[Int]] {
        #expect(throws: MappingError.self) { _ = try array.element(at: indices) }
        #expect(throws: MappingError.self) { try array.store(1, at: indices) }
      }
      for bounds in [-1..<1, 19..<21, 0..<Int.max, Int.min..<0] {
        #expect(throws: MappingError.self) { try array.withSpan(bounds) { _ in } }
        #expect(throws: MappingError.self) { try array.withMutableSpan(bounds) { _ in } }
      }
      for count in [-1, .min, .max, .max / 20] {
        #expect(throws: MappingError.self) { try array.resize(to: count) }
        if count > 0 && mode == .inPlace { #expect(throws: MappingError.self) { try array.reserveCapacity(count) } }
      }
      #expect(throws: MappingError.self) { try array.append(1) }
      #expect(throws: MappingError.self) { try array.append(contentsOf: [1, 2, 3, 4].span) }
      try array.append(contentsOf: [Int32]().span)
      #expect(array.shape == [4, 5])
      try array.append(contentsOf: [1, 2, 3, 4, 5].span)
      try array.commit()
      #expect(try array.element(at: [4, 4]) == 5)
    }
    var none = try MappedArray<Int32>(folder.appending("none.npy"), creating: .ifMissing(shape: [0, 0, 1 << 40]))
    #expect(throws: MappingError.self) { try none.resize(to: 1 << 40) }
    try none.resize(to: 1 << 20)
    try none.append(contentsOf: [])
    #expect(throws: MappingError.self) { try none.append(1) }
    try none.commit()
    #expect(none.shape == [1 << 20, 0, 1 << 40] && none.isEmpty == true)
    try none.close()
    #expect(FileDescriptor.removed(folder.appending("none.npy")))
    for shape in [[-1], [.max], [1, .max], [10_000_000_000_000_000, 0], [Int](repeating: 1, count: 65)] {
      #expect(throws: MappingError.self) {
        _ = try MappedArray<Int32>(folder.appending("none.npy"), creating: .exclusive(shape: shape))
      }
      #expect(throws: MappingError.self) { _ = try MappedArray<Int32>(folder.appending("none.npy")) }
    }
  }

  @Test func `what cannot grow says why`() throws {
    let folder = try TemporaryDirectory()
    var single = try MappedArray<Double>(folder.appending("single.npy"), creating: .ifMissing(shape: []))
    #expect(single.count == 1 && single.shape == [] && single.strides == [])
    try single.store(4, at: [])
    #expect(try single.element(at: []) == 4)
    try single.commit()
    #expect(
      Self.note(#expect(throws: MappingError.self) { try single.append(1) })
        == "a single value has no dimension that could grow")

    // Two arrays in one file, as numpy.save makes them.
    let header = try NumPyHeader(elementType: UInt8.numPyElementType, shape: [3]).encoded()
    let two = try folder.file("two.npy", header + [1, 2, 3] + header + [4, 5, 6])
    var first = try MappedArray<UInt8>(two)
    try first.store(9, at: 0)
    #expect(
      Self.note(#expect(throws: MappingError.self) { try first.append(1) })
        == "another array follows it in the same file")
    try first.commit()
    try first.close()
    #expect(try TransactionalFileTests.content(two) == header + [9, 2, 3] + header + [4, 5, 6])

    let tight = try folder.file(
      "tight.npy", NumPyHeaderTests.wrap("{'descr':'|u1','fortran_order':False,'shape':(3,)}\n") + [1, 2, 3])
    var third = try MappedArray<UInt8>(tight)
    let error = #expect(throws: MappingError.self) { try third.resize(to: 2) }
    #expect(error?.code == .notSupported && Self.note(error).contains("no room for another length"))
  }

  @Test func `in place is refused beside a journal with commits, and takes the file over from a closed one`() throws {
    let folder = try TemporaryDirectory()
    let path = folder.appending("a.npy")
    let journal = folder.appending("a.npy.pagewise-journal")
    do {
      var options = TransactionalFile.Options()
      options.application = .atCheckpoint
      var array = try MappedArray<Int32>(path, creating: .ifMissing(shape: [2]), mode: .atomic, transactions: options)
      try array.append(5)
      try array.commit()
      // No close: as after a crash.
    }
    #expect { _ = try Self.reopen(path, Int32.self, mode: .inPlace) } throws: {
      ($0 as? MappingError)?.code == .wrongState && Self.note($0).contains("as .atomic")
    }
    try Self.reopen(path, Int32.self, mode: .atomic).close()
    var array = try Self.reopen(path, Int32.self, mode: .inPlace)
    #expect(try Self.all(array) == [0, 0, 5])
    #expect(throws: (any Error).self) { _ = try FileDescriptor.open(journal, .readOnly) }
    try array.resize(to: 1)
    try array.commit()
    try array.close()
    let again = try Self.reopen(path, Int32.self, mode: .atomic)
    #expect(again.count == 1)
  }

  @Test func `the count stands in one aligned word of the first sector, whatever it is`() throws {
    let folder = try TemporaryDirectory()
    let path = folder.appending("a.npy")
    for shape in [[0], [0, 3], [0, 0], [0, 1, 2, 3, 4, 5, 6, 7, 8]] {
      var array = try MappedArray<UInt8>(path, creating: .ifMissing(shape: shape))
      var before = try TransactionalFileTests.content(path)
      for count in [1, 9, 10, 99, 100, 12_345, 3] {
        try array.resize(to: count)
        try array.commit()
        let now = try TransactionalFileTests.content(path)
        let changed = (0..<array.header.dataOffset).filter { now[$0] != before[$0] }
        #expect(changed.last! < 512 && Set(changed.map { $0 / 8 }).count == 1, "\(shape) \(count)")
        #expect(try NumPyHeader(parsing: now).shape == [count] + shape.dropFirst())
        before = now
      }
      try array.close()
      #expect(FileDescriptor.removed(path))
    }
  }

  @Test func `a header of a page is made as a whole or not at all, and found again`() throws {
    let folder = try TemporaryDirectory()
    for mode in Self.modes {
      let path = folder.appending("\(mode).npy")
      var array = try MappedArray<Double>(
        path, creating: .ifMissing(shape: [2, 2]), mode: mode, minimumHeaderSize: 4096)
      try array.store(2, at: 3)
      try array.commit()
      try array.close()
      let reader = try MappedArrayReader<Double>(path)
      #expect(reader.header.dataOffset == 4096)
      #expect(try reader.elements() == [0, 0, 0, 2])
    }
  }
}

extension FileDescriptor {
  static func removed(_ path: FilePath) -> Bool { (try? Child.succeeds("rm", path.string)) == true }
}

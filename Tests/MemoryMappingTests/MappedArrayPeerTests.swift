// SPDX-License-Identifier: Apache-2.0

import MemoryMapping
import SystemPackage
import Testing
import _TestSupport

/// Numbers that both sides can count with.
protocol CountingElement: NumPyElement, Equatable {
  static func number(_ k: Int) -> Self
}

extension FixedWidthInteger where Self: NumPyElement {
  static func number(_ k: Int) -> Self { Self(truncatingIfNeeded: k) }
}
extension Int8: CountingElement {}
extension Int16: CountingElement {}
extension Int32: CountingElement {}
extension Int64: CountingElement {}
extension UInt8: CountingElement {}
extension UInt16: CountingElement {}
extension UInt32: CountingElement {}
extension UInt64: CountingElement {}
extension Float16: CountingElement { static func number(_ k: Int) -> Float16 { Float16(k) } }
extension Float: CountingElement { static func number(_ k: Int) -> Float { Float(k) } }
extension Double: CountingElement { static func number(_ k: Int) -> Double { Double(k) } }

/// A type of a program under NumPy's name.
struct Complex<Part: CountingElement & BinaryFloatingPoint>: CountingElement {
  var real: Part
  var imaginary: Part
  static var numPyElementType: NumPyElementType {
    NumPyElementType(.complex, itemSize: 2 * MemoryLayout<Part>.size)!
  }
  static func describeLayout(_ layout: inout LayoutDescription<Complex>) {
    layout.field(\.real)
    layout.field(\.imaginary)
  }
  static func number(_ k: Int) -> Complex { Complex(real: Part(k), imaginary: -Part(k)) }
}

@Suite struct MappedArrayTestsWithNumPy {
  /// What a type can do, with the type itself left out.
  struct Cell {
    var type: NumPyElementType
    /// Reads a file with a reader.
    var read: (FilePath, [Int]) throws -> Void
    /// Makes a file with an array.
    var make: (FilePath, [Int], MappedArrayMode) throws -> Void

    init<T: CountingElement>(_: T.Type) {
      type = T.numPyElementType
      read = { path, shape in
        let reader = try MappedArrayReader<T>(path)
        let count = shape.reduce(1, *)
        let wanted = (0..<count).map { T.number($0) }
        #expect(reader.shape == shape && reader.count == count, "\(path)")
        #expect(try reader.elements() == wanted, "\(path)")
        for place in stride(from: 0, to: count, by: 7) {
          var rest = place
          var indices = shape
          for dimension in shape.indices.reversed() {
            (rest, indices[dimension]) = rest.quotientAndRemainder(dividingBy: shape[dimension])
          }
          #expect(try reader.element(at: indices) == wanted[place], "\(path)")
          #expect(zip(indices, reader.strides).reduce(0) { $0 + $1.0 * $1.1 } == place)
        }
        if reader.isSwapped {
          let error = #expect(throws: MappingError.self) { try reader.withSpan { _ in } }
          #expect(error?.code == .invalidLayout)
          #expect(throws: MappingError.self) { _ = try MappedArray<T>(path) }
        } else {
          #expect(try reader.withSpan { span in span.indices.allSatisfy { span[$0] == wanted[$0] } }, "\(path)")
          // And for writing, as NumPy left it.
          var array = try MappedArray<T>(path)
          if !shape.isEmpty {
            try array.resize(to: shape[0] + 1)
            try array.commit()
            try array.resize(to: shape[0])
            try array.commit()
          }
          #expect(try MappedArrayTests.all(array) == wanted && array.shape == shape, "\(path)")
        }
      }
      make = { path, shape, mode in
        // Grown to its length where it has one.
        var array = try MappedArray<T>(
          path, creating: .exclusive(shape: shape.isEmpty ? [] : [0] + shape.dropFirst()), mode: mode)
        if !shape.isEmpty { try array.resize(to: shape[0]) }
        try array.withMutableSpan { span in for place in span.indices { span[place] = T.number(place) } }
        try array.commit()
        try array.close()
      }
    }
  }

  static var cells: [Cell] {
    [
      Cell(Int8.self), Cell(Int16.self), Cell(Int32.self), Cell(Int64.self), Cell(UInt8.self), Cell(UInt16.self),
      Cell(UInt32.self), Cell(UInt64.self), Cell(Float16.self), Cell(Float.self), Cell(Double.self),
      Cell(Complex<Float>.self), Cell(Complex<Double>.self),
    ]
  }
  static let shapes = [[], [0], [1], [7], [1000], [2, 3], [0, 5], [5, 0], [7, 1, 2], [2, 3, 4, 5]]

  /// Values of element k in Python.
  static let values = """
    def values(descr, shape):
      k = np.arange(int(np.prod(shape, dtype=int)))
      return (k - 1j * k if 'c' in descr else k).astype(descr).reshape(shape)

    """

  @Test(.needsNumPy("arrays by NumPy")) func `what NumPy saves of any type, order and shape is read with its values`()
    throws
  {
    let folder = try TemporaryDirectory()
    let script =
      Self.values + """
        for i, descr in enumerate(sys.argv[2].split()):
          for o in '<>':
            for j, shape in enumerate(eval(sys.argv[3])):
              np.save(f'{sys.argv[1]}/{i}{o}{j}.npy', values(descr.replace('<', o), shape))
        """
    let shapes = "[\(Self.shapes.map(NumPyHeaderTestsWithNumPy.python).joined(separator: ","))]"
    _ = try NumPy.run(script, folder.path.string, Self.cells.map { "\($0.type)" }.joined(separator: " "), shapes)
    var changed: [String] = []
    for (i, cell) in Self.cells.enumerated() {
      for order in ["<", ">"] {
        for (j, shape) in Self.shapes.enumerated() {
          try cell.read(folder.appending("\(i)\(order)\(j).npy"), shape)
          changed.append("\(i)\(order)\(j).npy \(j)")
        }
      }
    }
    // Their headers were written anew by growing and shrinking: NumPy must find the same arrays.
    try folder.file("list", changed.joined(separator: "\n").utf8)
    let again =
      Self.values + """
        good = 0
        for line in open(sys.argv[1] + '/list'):
          name, j = line.split()
          a = np.load(f'{sys.argv[1]}/{name}', mmap_mode='r')
          assert np.array_equal(a, values(a.dtype.str, eval(sys.argv[2])[int(j)])), name
          good += 1
        print(good)
        """
    #expect(try NumPy.run(again, folder.path.string, shapes) == ["\(Self.cells.count * 2 * Self.shapes.count)"])
  }

  @Test(.needsNumPy("arrays for NumPy")) func `what is made here NumPy maps with its values`() throws {
    let folder = try TemporaryDirectory()
    var lines: [String] = []
    for (i, cell) in Self.cells.enumerated() {
      for (j, shape) in Self.shapes.enumerated() {
        for mode in MappedArrayTests.modes {
          try cell.make(folder.appending("\(i)-\(j)-\(mode).npy"), shape, mode)
          lines.append("\(i)-\(j)-\(mode).npy \(cell.type) \(NumPyHeaderTestsWithNumPy.python(shape))")
        }
      }
    }
    try folder.file("list", lines.joined(separator: "\n").utf8)
    let script =
      Self.values + """
        good = 0
        for line in open(sys.argv[1] + '/list'):
          name, descr, shape = line.split()
          for mode in ('r', None):
            a = np.load(f'{sys.argv[1]}/{name}', mmap_mode=mode)
            assert a.dtype.str == descr and a.shape == eval(shape), line
            assert np.array_equal(a, values(descr, eval(shape))), line
            good += 1
        print(good)
        """
    #expect(try NumPy.run(script, folder.path.string) == ["\(lines.count * 2)"])
  }

  @Test(.needsNumPy("a program that changes our array"))
  func `what NumPy stores through its mapping is seen here, and the reverse`() throws {
    let folder = try TemporaryDirectory()
    let path = folder.appending("a.npy")
    var array = try MappedArray<Float>(path, creating: .ifMissing(shape: [4, 3]))
    try array.store(1.5, at: [3, 2])
    let script = "a = np.load(sys.argv[1], mmap_mode='r+'); print(a.shape, a[3, 2]); a[1] = [7, 8, 9]; a.flush()"
    #expect(try NumPy.run(script, path.string) == ["(4, 3) 1.5"])
    #expect(try array.withSpan(3..<6) { span in span.indices.map { span[$0] } } == [7, 8, 9])
    // Rows that are not committed are not there for others.
    try array.append(contentsOf: [1, 2, 3].span)
    #expect(try NumPy.run(script, path.string) == ["(4, 3) 1.5"])
    try array.commit()
    #expect(try NumPy.run(script, path.string) == ["(5, 3) 1.5"])
    // The reader of a file with room behind the rows.
    #expect(array.capacity > 1000)
    #expect(try NumPy.run("print(np.load(sys.argv[1])[4].tolist())", path.string) == ["[1.0, 2.0, 3.0]"])
  }

  @Test(.needsNumPy("raw bytes for NumPy")) func `a struct is a record to NumPy once it is told the fields`() throws {
    let folder = try TemporaryDirectory()
    let path = folder.appending("a.npy")
    var array = try MappedArray<Sample>(path, creating: .ifMissing(shape: [0]))
    for k in 0..<5 { try array.append(Sample(time: UInt64(k), price: Double(k) / 2, size: 1, flags: 2)) }
    try array.commit()
    let script = """
      a = np.load(sys.argv[1], mmap_mode='r')
      r = a.view([('time', 'u8'), ('price', 'f8'), ('size', 'u4'), ('flags', 'u4')])
      print(a.dtype.str, r['time'].sum(), r['price'].sum(), r['flags'].sum())
      np.save(sys.argv[2], a[::-1])
      """
    let other = folder.appending("b.npy")
    #expect(try NumPy.run(script, path.string, other.string) == ["|V24 10 5.0 10"])
    #expect(try MappedArrayTests.stored(other, Sample.self).map(\.time) == [4, 3, 2, 1, 0])
  }

  @Test(.needsNumPy("booleans and Fortran order by NumPy")) func `booleans are bytes, and Fortran order is refused`()
    throws
  {
    let folder = try TemporaryDirectory()
    _ = try NumPy.run(
      """
      np.save(sys.argv[1] + '/b.npy', np.arange(6) % 2 == 1)
      np.save(sys.argv[1] + '/f.npy', np.zeros((2, 3), order='F'))
      np.save(sys.argv[1] + '/v.npy', np.zeros((1, 3), order='F'))
      """, folder.path.string)
    #expect(try MappedArrayTests.stored(folder.appending("b.npy"), UInt8.self) == [0, 1, 0, 1, 0, 1])
    let error = #expect(throws: MappingError.self) { _ = try MappedArrayReader<Double>(folder.appending("f.npy")) }
    #expect(error.map { MappedArrayTests.note($0) }?.contains("Fortran order") == true)
    #expect(try MappedArrayTests.stored(folder.appending("v.npy"), Double.self) == [0, 0, 0])
  }

  @Test(.needsNumPy("a reader beside a writer"))
  func `a program that loads the array while it grows never sees a row that is not there`() throws {
    let folder = try TemporaryDirectory(in: TransactionalCrashTests.shm())
    let path = folder.appending("a.npy")
    try MappedArray<UInt64>(path, creating: .ifMissing(shape: [0])).close()
    let script = """
      import time
      last, seen, end = 0, 0, time.time() + 2
      while time.time() < end:
        try: a = np.load(sys.argv[1], mmap_mode='r')
        except ValueError as e:
          # An array of no rows cannot be mapped by some versions.
          if 'empty' in str(e): continue
          raise
        n = len(a)
        assert n >= last, (n, last)
        assert n == 0 or (a[-1] == n and a[0] == 1), (n, a[-1])
        seen += n != last
        last = n
      print(seen)
      """
    // The child runs beside this thread's appends.
    let answer = Locked<[String]?>(nil)
    let finished = Locked(false)
    onThreads(2) { thread in
      if thread == 0 {
        let lines = try? NumPy.run(script, path.string)
        answer.withLock { $0 = lines }
        finished.withLock { $0 = true }
      } else {
        do {
          var array = try MappedArray<UInt64>(path)
          var next: UInt64 = 1
          while !finished.withLock({ $0 }) {
            for _ in 0..<13 {
              try array.append(next)
              next += 1
            }
            try array.commit()
          }
        } catch { Issue.record(error) }
      }
    }
    let seen = answer.withLock { $0 }?.first.flatMap { Int($0) }
    #expect(seen ?? 0 > 20, "\(String(describing: seen))")
  }
}

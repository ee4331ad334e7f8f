// SPDX-License-Identifier: Apache-2.0

import MemoryMapping
import SystemPackage
import Testing
import _TestSupport

extension Trait where Self == ConditionTrait {
  /// Only with the real NumPy. Says so loudly where it is skipped.
  static func needsNumPy(_ what: String) -> Self {
    .enabled("needs NumPy") { Skips.require(NumPy.isThere, what, install: "apt-get install python3-numpy") }
  }
}

/// The real NumPy, in a child.
enum NumPy {
  static let isThere = (try? Child.succeeds("python3", "-c", "import numpy")) == true

  /// Runs a script with arguments and gives the lines that it printed.
  static func run(_ script: String, _ arguments: String...) throws -> [String] {
    let child = try Child.run(["python3", "-W", "ignore", "-c", "import sys, numpy as np\n" + script] + arguments)
    try #require(child.status == 0, "\(child.output)")
    return child.output.split(separator: "\n").map(String.init)
  }
}

/// NumPy on the other side. The name begins with the suite's, so that one filter runs all.
@Suite struct NumPyHeaderTestsWithNumPy {
  typealias Base = NumPyHeaderTests

  static let shapes = [
    [], [0], [1], [3], [1000], [2, 3], [0, 5], [5, 0], [7, 1, 2], [2, 3, 4, 5], [1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1],
    [Int](repeating: 1, count: 64),
    // With `|u1` the text fills 128 bytes, to which NumPy adds 64.
    [Int](repeating: 1, count: 13) + [100],
  ]

  static func python(_ shape: [Int]) -> String { "(\(shape.map { "\($0)," }.joined()))" }

  @Test(.needsNumPy("headers by NumPy")) func `what NumPy saves is read, and written again byte for byte`() throws {
    let folder = try TemporaryDirectory()
    let types = Base.types.map { "\($0)" }
    let script = """
      for i, descr in enumerate(sys.argv[2].split()):
        for j, shape in enumerate(eval(sys.argv[3])):
          if len(shape) > 32 and np.__version__ < '2': continue
          for order in 'CF':
            np.save(f'{sys.argv[1]}/{i}-{j}-{order}.npy', np.zeros(shape, descr, order=order))
      """
    _ = try NumPy.run(
      script, folder.path.string, types.joined(separator: " "),
      "[\(Self.shapes.map(Self.python).joined(separator: ","))]")
    var seen = 0
    for (i, type) in types.enumerated() {
      for (j, shape) in Self.shapes.enumerated() {
        for order in ["C", "F"] {
          let path = folder.appending("\(i)-\(j)-\(order).npy")
          let bytes = try PatternFile.bytesIfPresent(path)
          if bytes.isEmpty, shape.count > 32 { continue }
          let header = try NumPyHeader(parsing: bytes)
          seen += 1
          #expect("\(header.elementType)" == type && header.shape == shape, "\(path)")
          // What is contiguous in both orders is saved as C's.
          let isFortranOrder = order == "F" && !shape.contains(0) && shape.count { $0 > 1 } > 1
          #expect(header.isFortranOrder == isFortranOrder, "\(path)")
          #expect(header.endOffset == bytes.count, "\(path)")
          #expect(try header.encoded() == Array(bytes.prefix(header.dataOffset)), "\(path)")
          let made = try NumPyHeader(
            elementType: header.elementType, shape: shape, isFortranOrder: isFortranOrder)
          #expect(made == header, "\(path)")
        }
      }
    }
    #expect(seen >= types.count * 2 * (Self.shapes.count - 1))
  }

  @Test(.needsNumPy("long double and other types by NumPy")) func `what NumPy saves of other types is refused`() throws
  {
    let folder = try TemporaryDirectory()
    let script = """
      arrays = [np.zeros(2, np.longdouble), np.zeros(2, 'S3'), np.zeros(2, 'U3'), np.zeros(2, 'M8[ns]'),
        np.zeros(2, 'm8[s]'), np.zeros(2, '?,i4'), np.array([None]), np.zeros(2, [('a', 'f8'), ('b', 'i4')]),
        np.zeros(2, [('a', 'f8', (2, 2))]), np.zeros(2, [('\\u00e9\\u20ac', 'f8')])]
      for i, a in enumerate(arrays): np.save(f'{sys.argv[1]}/{i}.npy', a, allow_pickle=True)
      """
    _ = try NumPy.run(script, folder.path.string)
    for i in 0..<10 {
      let bytes = try PatternFile.bytesIfPresent(folder.appending("\(i).npy"))
      let error = #expect(throws: MappingError.self, "\(i)") { try NumPyHeader(parsing: bytes) }
      #expect(error.map(Base.note)?.hasPrefix("descr ") == true, "\(i): \(String(describing: error))")
    }
  }

  @Test(.needsNumPy("files for NumPy")) func `a file with our header is mapped by NumPy with its values`() throws {
    let folder = try TemporaryDirectory()
    var random = SeededGenerator(31)
    var lines: [String] = []
    for (i, type) in Base.types.enumerated() {
      for (j, shape) in Self.shapes.enumerated() where shape.count <= 32 {
        let header = try NumPyHeader(
          elementType: type, shape: shape, isFortranOrder: (i + j) % 2 == 1,
          minimumHeaderSize: [0, 4096, 8192].randomElement(using: &random)!)
        // Element k holds k % 2, in its own kind and order.
        var data = [UInt8](repeating: 0, count: header.byteCount)
        for k in stride(from: 1, to: header.elementCount, by: 2) {
          let one = NumPyFile.one(type)
          data.replaceSubrange(k * type.itemSize..<(k + 1) * type.itemSize, with: one)
        }
        let name = "\(i)-\(j).npy"
        try folder.file(name, try header.encoded() + data)
        let order = header.isFortranOrder ? "F" : "C"
        lines.append("\(name) \(type) \(order) \(header.dataOffset) \(Self.python(shape))")
      }
    }
    try folder.file("list", lines.joined(separator: "\n").utf8)
    let script = """
      good = 0
      for line in open(sys.argv[1] + '/list'):
        name, descr, order, offset, shape = line.split()
        shape = eval(shape)
        for mode in ('r', None):
          a = np.load(f'{sys.argv[1]}/{name}', mmap_mode=mode)
          assert a.dtype.str == descr, (line, a.dtype)
          assert a.shape == shape, (line, a.shape)
          assert a.ndim < 2 or a.flags[order + '_CONTIGUOUS'], line
          if mode and a.size and shape: assert a.offset == int(offset), line
          wanted = (np.arange(a.size) % 2).astype(descr).reshape(shape, order=order)
          assert np.array_equal(a, wanted), (line, a)
          good += 1
      print(good)
      """
    #expect(try NumPy.run(script, folder.path.string) == ["\(lines.count * 2)"])
  }

  @Test(.needsNumPy("a grown file for NumPy")) func `a file grown in place is read by NumPy with its new length`()
    throws
  {
    let folder = try TemporaryDirectory()
    var header = try NumPyHeader(elementType: UInt16.numPyElementType, shape: [0, 3])
    for count in [1, 9, 10, 99, 100, 12_345] {
      header = try header.resized(to: count)
      try folder.file("grown.npy", try header.encoded() + [UInt8](repeating: 1, count: header.byteCount))
      let lines = try NumPy.run(
        "a = np.load(sys.argv[1], mmap_mode='r'); print(a.shape, a.sum())", folder.appending("grown.npy").string)
      #expect(lines == ["(\(count), 3) \(count * 3 * 257)"])
    }
  }

  @Test(.needsNumPy("NumPy's own parser")) func `what is read here, NumPy reads as the same`() throws {
    // Pieces of headers put together at random; what we take, NumPy must take, and as the same.
    let folder = try TemporaryDirectory()
    var random = SeededGenerator(41)
    let pieces: [[String]] = [
      ["{", "{", "{", " {", "\t{", "{ ", "{\n", "((", ""],
      ["'descr'", "'descr'", "\"descr\"", "u'descr'", "'shape'", "b'descr'", "'''descr'''"],
      [": ", ":", " : ", "", "\n:\u{C}"],
      [
        "'<f8'", "'|b1'", "\">i2\"", "u'<c16'", "'<i1'", "'>u1'", "'<f16'", "'=i4'", "'|V24'", "'<V7'", "'|V0'", "'|O'",
        "'<f8 '", "'|S3'",
      ],
      [", ", ",", " ,\n", ",,", ""],
      ["'fortran_order': ", "\"fortran_order\":", "'fortran_order' :\t"],
      ["False", "True", "False", "0", "Truest", "not True"],
      [", ", ",", " ,\r\n", ";"],
      ["'shape': ", "\"shape\":", "'shape' : ", "'descr': "],
      [
        "()", "(3,)", "(3, 4)", "( 3 ,4,)", "(3L,)", "(3l,)", "(3 L,)", "(3)", "[3]", "(0,)", "(00,)", "(010,)",
        "(-1,)",
        "(True,)", "(1_0,)", "(3, 4 5)", "(,)", "(0x10,)", "(3.0,)", "(+3,)", "(\n3,\n)", "(3,),", "((),)",
      ],
      ["}", ", }", ",}", " }", "", "}}", ",\n}"],
      ["", "\n", "   \n", "\r\n", "\t", "\u{C}", " \n \n", "x", "\0", "#", ";", "\u{B}", "\u{85}", "\u{A0}"],
    ]
    var headers: [[UInt8]] = []
    for _ in 0..<4000 {
      let dull = Int.random(in: 0..<pieces.count, using: &random)
      let other = Int.random(in: 0..<pieces.count, using: &random)
      let text = pieces.enumerated().map { index, choices in
        index == dull || index == other ? choices.randomElement(using: &random)! : choices[0]
      }
      headers.append(Base.wrap(text.joined(), version: UInt8.random(in: 1...3, using: &random)))
    }
    let valid = try NumPyHeader(elementType: Int32.numPyElementType, shape: [12, 3]).encoded()
    for _ in 0..<4000 {
      var bytes = valid
      for _ in 0..<Int.random(in: 1...2, using: &random) {
        bytes[Int.random(in: 6..<75, using: &random)] = UInt8.random(in: 0x09...0x7F, using: &random)
      }
      headers.append(bytes)
    }
    var blob: [UInt8] = []
    for header in headers { blob += [UInt8(header.count & 255), UInt8(header.count >> 8)] + header }
    try folder.file("blob", blob)
    let script = """
      import io
      from numpy.lib import format as f
      try: from numpy.lib._format_impl import _read_array_header as read
      except ImportError: read = f._read_array_header
      blob = open(sys.argv[1] + '/blob', 'rb').read()
      at = 0
      while at < len(blob):
        n = blob[at] + 256 * blob[at + 1]
        fp = io.BytesIO(blob[at + 2:at + 2 + n])
        at += 2 + n
        try:
          version = f.read_magic(fp)
          if version not in ((1, 0), (2, 0), (3, 0)): raise ValueError
          shape, order, dtype = read(fp, version)
          print(dtype.str, order, list(map(int, shape)), fp.tell())
        except Exception as e:
          print('no')
      """
    let answers = try NumPy.run(script, folder.path.string)
    try #require(answers.count == headers.count)
    var read = 0
    for (header, answer) in zip(headers, answers) {
      guard let ours = try? NumPyHeader(parsing: header) else { continue }
      read += 1
      let order = ours.isFortranOrder ? "True" : "False"
      let line = "\(ours.elementType) \(order) \(ours.shape) \(ours.dataOffset)"
      #expect(line == answer, "\(String(decoding: header, as: UTF8.self).debugDescription)")
    }
    #expect(read > 500, "too few headers to say much")
  }
}

private enum NumPyFile {
  /// The number 1 as an element of a type.
  static func one(_ type: NumPyElementType) -> [UInt8] {
    func bytes(_ pattern: UInt64, _ size: Int) -> [UInt8] {
      let little = (0..<size).map { UInt8(truncatingIfNeeded: pattern >> (8 * UInt64($0))) }
      return type.byteOrder == .big ? little.reversed() : little
    }
    func float(_ size: Int) -> [UInt8] {
      bytes(size == 2 ? 0x3C00 : size == 4 ? UInt64(Float(1).bitPattern) : Double(1).bitPattern, size)
    }
    return switch type.kind {
    case .boolean, .signedInteger, .unsignedInteger: bytes(1, type.itemSize)
    case .floatingPoint: float(type.itemSize)
    case .complex: float(type.itemSize / 2) + [UInt8](repeating: 0, count: type.itemSize / 2)
    case .raw: [UInt8](repeating: 1, count: type.itemSize)
    }
  }
}

extension PatternFile {
  /// All bytes of a file, or none where there is no file.
  fileprivate static func bytesIfPresent(_ path: FilePath) throws -> [UInt8] {
    guard let file = try? FileDescriptor.open(path, .readOnly, options: [.closeOnExec]) else { return [] }
    defer { try? file.close() }
    return try read(path, 0..<(try file.seek(offset: 0, from: .end)))
  }
}

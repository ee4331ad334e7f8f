// SPDX-License-Identifier: Apache-2.0

import MemoryMapping
import Testing
import _TestSupport

@Suite struct NumPyHeaderTests {
  /// Every type that can be written.
  static let types: [NumPyElementType] = NumPyElementType.Kind.allCases.flatMap { kind in
    kind.itemSizes.flatMap { size in
      (size == 1 ? [.notApplicable] : [.little, .big]).map { NumPyElementType(kind, itemSize: size, byteOrder: $0)! }
    }
  }

  /// A header of format version 1.0, 2.0 or 3.0 around any text.
  static func wrap(_ text: String, version: UInt8 = 1) -> [UInt8] {
    let length = text.utf8.count
    let field = (0..<(version == 1 ? 2 : 4)).map { UInt8(truncatingIfNeeded: length >> (8 * $0)) }
    return [0x93] + Array("NUMPY".utf8) + [version, 0] + field + Array(text.utf8)
  }

  /// The golden text, padded by hand.
  static func golden(_ text: String, total: Int) -> [UInt8] {
    wrap(text + String(repeating: " ", count: total - 11 - text.utf8.count) + "\n")
  }

  static func note(_ error: MappingError) -> String {
    if case .note(let note)? = error.detail { note } else { "no note" }
  }

  /// Facts that hold for each header, however it was made.
  static func checkInvariants(_ header: NumPyHeader, bytes: Int? = nil) {
    check((1...3).contains(header.formatVersion))
    check(header.shape.allSatisfy { $0 >= 0 })
    check(header.dataOffset >= 10 && header.dataOffset <= bytes ?? .max, "elements at \(header.dataOffset)")
    check(header.elementCount == header.shape.reduce(1) { $0 &* $1 }, "\(header)")
    check(header.byteCount == header.elementCount * header.elementType.itemSize)
    check(header.endOffset == header.dataOffset + header.byteCount)
  }

  @Test func `a header has the bytes that NumPy writes`() throws {
    let rows: [(String, [Int], Bool, String, Int)] = [
      ("<i4", [3], false, "{'descr': '<i4', 'fortran_order': False, 'shape': (3,), }", 128),
      (">f8", [], false, "{'descr': '>f8', 'fortran_order': False, 'shape': (), }", 128),
      ("|b1", [0, 5], false, "{'descr': '|b1', 'fortran_order': False, 'shape': (0, 5), }", 128),
      ("<c16", [2, 3], true, "{'descr': '<c16', 'fortran_order': True, 'shape': (2, 3), }", 128),
      (
        "<f2", [1, 2, 3, 4, 5, 6, 7, 8, 9, 10], false,
        "{'descr': '<f2', 'fortran_order': False, 'shape': (1, 2, 3, 4, 5, 6, 7, 8, 9, 10), }", 128
      ),
    ]
    for (type, shape, isFortranOrder, text, total) in rows {
      let type = try #require(NumPyElementType(type))
      let header = try NumPyHeader(elementType: type, shape: shape, isFortranOrder: isFortranOrder)
      #expect(try header.encoded() == Self.golden(text, total: total), "\(text)")
      #expect(header.dataOffset == total)
      Self.checkInvariants(header)
    }
  }

  @Test func `a text that fills a multiple of 64 gets 64 spaces more, as in NumPy`() throws {
    var sizes: Set<Int> = []
    for length in 6..<150 {
      // Three characters more for each dimension, and up to two more for the last of them.
      let shape = [Int](repeating: 1, count: length / 3) + [[1, 10, 100][length % 3]]
      let header = try NumPyHeader(elementType: UInt8.numPyElementType, shape: shape)
      let text =
        "{'descr': '|u1', 'fortran_order': False, 'shape': (\(shape.map { "\($0)" }.joined(separator: ", "))), }"
      let least = 10 + text.utf8.count + 20 + 1
      #expect(header.dataOffset == least + 64 - least % 64)
      #expect(header.dataOffset % 64 == 0 && header.dataOffset > least)
      sizes.insert(header.dataOffset - least)
    }
    #expect(sizes == Set(1...64), "\(sizes.sorted())")
  }

  @Test func `the minimum size is rounded up, and the version follows the size`() throws {
    for (minimum, size, version) in [
      (0, 128, 1), (1, 128, 1), (128, 128, 1), (129, 192, 1), (4096, 4096, 1), (65_536, 65_536, 1),
      (65_537, 65_600, 2), (NumPyHeader.maximumSize, NumPyHeader.maximumSize, 2),
    ] {
      let header = try NumPyHeader(elementType: Double.numPyElementType, shape: [3, 4], minimumHeaderSize: minimum)
      let bytes = try header.encoded()
      #expect(header.dataOffset == size && bytes.count == size && header.formatVersion == version, "\(minimum)")
      #expect(bytes.last == UInt8(ascii: "\n"))
      #expect(try NumPyHeader(parsing: bytes) == header)
    }
  }

  @Test func `the growing dimension reaches any count without moving the elements`() throws {
    for isFortranOrder in [false, true] {
      let header = try NumPyHeader(
        elementType: UInt8.numPyElementType, shape: [2, 0], isFortranOrder: isFortranOrder)
      #expect(header.growingDimension == (isFortranOrder ? 1 : 0))
      for count in [0, 1, 9, 10, 1 << 31, (.max - 128) / 2] {
        let grown = try header.resized(to: count)
        #expect(grown.dataOffset == header.dataOffset)
        #expect(grown.shape == (isFortranOrder ? [2, count] : [count, 0]))
        #expect(try NumPyHeader(parsing: try grown.encoded()) == grown)
      }
    }
    // A text without room, as another writer may have made it.
    let tight = try NumPyHeader(parsing: Self.wrap("{'descr':'<f8','fortran_order':False,'shape':(9,)}"))
    var error = #expect(throws: MappingError.self) { try tight.resized(to: 10) }
    #expect(Self.note(error!) == "it takes 69 bytes, and the elements begin at byte 60")
    #expect(throws: MappingError.self) { try tight.encoded() }
    let scalar = try NumPyHeader(elementType: Double.numPyElementType, shape: [])
    error = #expect(throws: MappingError.self) { try scalar.resized(to: 1) }
    #expect(Self.note(error!) == "a single value has no dimension that could grow")
  }

  @Test func `a header that cannot be is refused with the reason`() throws {
    let rows: [([Int], Int, String)] = [
      ([-1], 0, "dimension 0 of the shape is negative"),
      ([1, .min], 0, "dimension 1 of the shape is negative"),
      ([Int](repeating: 1, count: 65), 0, "the shape has 65 dimensions, more than 64"),
      ([.max], 0, "an array of shape (9223372036854775807,) and <f8 elements has too many bytes"),
      ([0, .max, 2], 0, "an array of shape (0, 9223372036854775807, 2) and <f8 elements has too many bytes"),
      // The elements alone fit, the file does not.
      ([.max / 8], 0, "an array of shape (1152921504606846975,) and <f8 elements has too many bytes"),
      ([1], -1, "a header of -1 bytes; 0 to 1048576 can be had"),
      ([1], .max, "a header of 9223372036854775807 bytes; 0 to 1048576 can be had"),
    ]
    let type = NumPyElementType("<f8")!
    for (shape, minimum, reason) in rows {
      let error = #expect(throws: MappingError.self) {
        try NumPyHeader(elementType: type, shape: shape, minimumHeaderSize: minimum)
      }
      #expect(error.map(Self.note) == reason)
      #expect(error?.code == .invalidLayout)
    }
    let header = try NumPyHeader(elementType: type, shape: [1])
    for count in [-1, Int.min, Int.max] {
      #expect(throws: MappingError.self, "\(count)") { try header.resized(to: count) }
    }
  }

  @Test func `a header comes back from its bytes for any shape, type and order`() throws {
    var random = SeededGenerator(21)
    for round in 0..<4000 {
      let shape = (0..<Int.random(in: 0...8, using: &random)).map { _ in
        Int.random(in: 0...[1, 9, 200].randomElement(using: &random)!, using: &random)
      }
      let header = try NumPyHeader(
        elementType: Self.types.randomElement(using: &random)!, shape: shape,
        isFortranOrder: Bool.random(using: &random), minimumHeaderSize: Int.random(in: 0...600, using: &random))
      let bytes = try header.encoded()
      Self.checkInvariants(header, bytes: bytes.count)
      #expect(bytes.count == header.dataOffset, "round \(round)")
      #expect(try NumPyHeader(parsing: bytes + [1, 2, 3]) == header, "round \(round)")
      let size = try withSpan(bytes) { try NumPyHeader.size(statedIn: $0) }
      #expect(size == header.dataOffset)
    }
    let most = try NumPyHeader(elementType: Int8.numPyElementType, shape: [Int](repeating: 1, count: 64))
    #expect(try NumPyHeader(parsing: try most.encoded()) == most)
  }

  @Test func `the types of Swift have the names of NumPy`() {
    let native = 1.littleEndian == 1 ? "<" : ">"
    let rows: [(any NumPyElement.Type, String)] = [
      (Int8.self, "|i1"), (UInt8.self, "|u1"), (Int16.self, native + "i2"), (UInt16.self, native + "u2"),
      (Int32.self, native + "i4"), (UInt32.self, native + "u4"), (Int64.self, native + "i8"),
      (UInt64.self, native + "u8"), (Int.self, native + "i\(Int.bitWidth / 8)"),
      (UInt.self, native + "u\(Int.bitWidth / 8)"), (Float.self, native + "f4"), (Double.self, native + "f8"),
    ]
    for (type, name) in rows {
      #expect("\(type.numPyElementType)" == name)
      for other in Self.types {
        let expected = "\(other)" == name || (type == UInt8.self && "\(other)" == "|b1")
        #expect(type.canRead(other) == expected, "\(type) from \(other)")
      }
    }
    #if !((os(macOS) || targetEnvironment(macCatalyst)) && arch(x86_64))
      #expect("\(Float16.numPyElementType)" == native + "f2")
    #endif
  }

  @Test func `a type has a name, and a name a type`() {
    #expect(Self.types.count == 2 * (3 + 3 + 3 + 2) + 3)
    for type in Self.types {
      #expect(NumPyElementType("\(type)") == type)
      #expect(type.isNativeOrder == ("\(type)".first == "|" || ("\(type)".first == "<") == (1.littleEndian == 1)))
    }
    // One byte has no order, whatever is written in front of it.
    #expect(NumPyElementType("<i1") == NumPyElementType("|i1"))
    #expect(NumPyElementType(.boolean, itemSize: 1, byteOrder: .big)?.byteOrder == .notApplicable)
    #expect(NumPyElementType(.floatingPoint, itemSize: 8, byteOrder: .notApplicable) == nil)
    for size in [Int.min, -1, 0, 3, 16, .max] { #expect(NumPyElementType(.signedInteger, itemSize: size) == nil) }
    for name in ["", "<", "<f", "f8", "<f8 ", " <f8", "<f3", "|f8", "=f8", "<g8", "<é8", "<f999999999999999999999"] {
      #expect(NumPyElementType(name) == nil, "\(name)")
    }
  }
}

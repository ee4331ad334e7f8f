// SPDX-License-Identifier: Apache-2.0

import MemoryMapping
import Testing
import _TestSupport

/// What the parser takes and what it refuses. The name begins with the suite's, so that one filter runs both.
@Suite struct NumPyHeaderTestsOfParsing {
  typealias Base = NumPyHeaderTests

  @Test func `what NumPy tolerates is read`() throws {
    let texts: [(String, String, [Int], Bool)] = [
      ("{'descr': '<f8', 'fortran_order': False, 'shape': (3, 4), }\n", "<f8", [3, 4], false),
      ("{'shape': (3, 4), 'descr': '<f8', 'fortran_order': False}", "<f8", [3, 4], false),
      ("{\"shape\":(3,),\"fortran_order\":True,\"descr\":\">i2\"}", ">i2", [3], true),
      ("  {\t'shape' : ( 3 , 4 , ) ,\n'descr'\r\n:\u{C}'|b1','fortran_order':False}  \n ", "|b1", [3, 4], false),
      ("{'descr': '<u4', 'fortran_order': False, 'shape': (3L, 10L), }", "<u4", [3, 10], false),
      ("{u'descr': u'<u4', u'fortran_order': False, u'shape': (0,), }", "<u4", [0], false),
      ("{'descr':'<i1','fortran_order':False,'shape':()}", "|i1", [], false),
      ("{'descr':'<c8','fortran_order':False,'shape':(0,0,0)}", "<c8", [0, 0, 0], false),
    ]
    for (text, type, shape, isFortranOrder) in texts {
      for version: UInt8 in 1...3 where version < 3 || !text.contains("L,") {
        let header = try NumPyHeader(parsing: Base.wrap(text, version: version))
        #expect("\(header.elementType)" == type && header.shape == shape, "\(text)")
        #expect(header.isFortranOrder == isFortranOrder && header.formatVersion == version)
        #expect(header.dataOffset == (version == 1 ? 10 : 12) + text.utf8.count)
        Base.checkInvariants(header)
      }
    }
  }

  /// Bytes, the offset and the reason.
  static var refusals: [([UInt8], Int, String)] {
    func fields(_ descr: String, _ shape: String, _ order: String = "False") -> String {
      "{'descr': \(descr), 'fortran_order': \(order), 'shape': \(shape), }"
    }
    func descr(_ value: String, _ reason: String) -> ([UInt8], Int, String) {
      (Base.wrap(fields(value, "(3,)")), 20, reason)
    }
    func shape(_ value: String, at offset: Int = 0, _ reason: String) -> ([UInt8], Int, String) {
      (Base.wrap(fields("'<f8'", value)), 60 + offset, reason)
    }
    func text(_ text: String, at offset: Int, _ reason: String) -> ([UInt8], Int, String) {
      (Base.wrap(text), 10 + offset, reason)
    }
    let magic: [UInt8] = [0x93] + Array("NUMPY".utf8)
    let magicReason = "it does not begin with the magic bytes \\x93NUMPY"
    let long = "is a long double, whose bytes differ from machine to machine"
    return [
      // In front of the dictionary.
      ([], 0, "it ends inside the magic bytes"), (Array(magic.prefix(5)), 5, "it ends inside the magic bytes"),
      (Array("PK\u{3}\u{4}".utf8), 0, magicReason), (magic.dropLast() + [0x79, 1, 0, 0, 0], 5, magicReason),
      (magic + [1], 7, "it ends inside the version"), (magic + [1, 0, 4], 9, "it ends inside the header length"),
      (magic + [2, 0, 4, 0], 10, "it ends inside the header length"),
      (magic + [4, 0, 0, 0], 6, "version 4.0 of the format is not known; 1.0, 2.0 and 3.0 are"),
      (magic + [1, 1, 0, 0], 6, "version 1.1 of the format is not known; 1.0, 2.0 and 3.0 are"),
      (magic + [0, 0, 0, 0], 6, "version 0.0 of the format is not known; 1.0, 2.0 and 3.0 are"),
      (magic + [1, 0, 3, 0, 0x7B, 0x7D], 8, "the header length states 3 bytes, and 2 follow"),
      (
        magic + [3, 0, 255, 255, 255, 255], 8,
        "the header length makes a header of 4294967307 bytes; the limit is 1048576"
      ),
      (
        magic + [2, 0, 0xF5, 0xFF, 0x0F, 0], 8,
        "the header length makes a header of 1048577 bytes; the limit is 1048576"
      ),
      (magic + [2, 0, 0xF4, 0xFF, 0x0F, 0], 8, "the header length states 1048564 bytes, and 0 follow"),
      // The dictionary.
      text("", at: 0, "'{' is expected in the header, and the end stands there"),
      text("[1]", at: 0, "'{' is expected in the header, and '[' stands there"),
      text("{", at: 1, "a string is expected in a key, and the end stands there"),
      text("{}", at: 1, "the key 'descr' is missing"),
      text("{,}", at: 1, "a string is expected in a key, and ',' stands there"),
      text("{'descr'}", at: 8, "':' is expected in the dictionary, and '}' stands there"),
      text("{'descr': '<f8'", at: 15, "',' or '}' is expected in the dictionary, and the end stands there"),
      text("{'descr': '<f8' 'shape': ()}", at: 16, "',' or '}' is expected in the dictionary, and ''' stands there"),
      text("{'descr': '<f8', 'shape': ()}", at: 28, "the key 'fortran_order' is missing"),
      text("{'descr': '<f8', 'fortran_order': True}", at: 38, "the key 'shape' is missing"),
      text("{'shape': (), 'shape': ()}", at: 14, "the key 'shape' stands there twice"),
      text("{'descr': '<f8', \"descr\": '<f8'}", at: 17, "the key 'descr' stands there twice"),
      text("{'fortran_order': True, 'fortran_order': True}", at: 24, "the key 'fortran_order' stands there twice"),
      text("{'é': 1}", at: 1, "the key '\\xc3\\xa9' is not known"),
      text("{'desc\\x72': 1}", at: 6, "an escape stands in a key"),
      text("{'descr\n': 1}", at: 1, "the string of a key does not end"),
      text("{'descr", at: 1, "the string of a key does not end"),
      text("{1: 2}", at: 1, "a string is expected in a key, and '1' stands there"),
      text(fields("'<f8'", "()") + "x", at: 55, "'x' stands behind the dictionary"),
      text(fields("'<f8'", "()") + " \0", at: 56, "'\\x00' stands behind the dictionary"),
      // The order.
      text("{'fortran_order': 0}", at: 18, "fortran_order is neither True nor False"),
      text("{'fortran_order': true}", at: 18, "fortran_order is neither True nor False"),
      text("{'fortran_order': Truest}", at: 22, "',' or '}' is expected in the dictionary, and 's' stands there"),
      // The element type.
      descr("[('a', '<f8')]", "descr is a structured type, whose elements are records"),
      descr("{'names': []}", "descr is a structured type, whose elements are records"),
      descr("('<f8', (2,))", "descr is a subarray type, whose elements are arrays"),
      descr("8", "a string is expected in the value of 'descr', and '8' stands there"),
      descr("'|O'", "descr '|O' is an object type, whose elements are pickled and not laid out"),
      descr("'|S5'", "descr '|S5' is text, not a number"), descr("'<U5'", "descr '<U5' is text, not a number"),
      descr("'|V0'", "descr '|V0' states no size in plain digits"),
      descr("'|V2147483648'", "descr '|V2147483648' has a size that its kind does not come in"),
      descr("'<M8[ns]'", "descr '<M8[ns]' is a date, not a number"),
      descr("'<m8[s]'", "descr '<m8[s]' is a time span, not a number"),
      descr("'<f16'", "descr '<f16' \(long)"), descr("'<f12'", "descr '<f12' \(long)"),
      descr("'>c32'", "descr '>c32' \(long)"), descr("'<c24'", "descr '<c24' \(long)"),
      descr("''", "descr '' is empty"), descr("'<'", "descr '<' has no kind"),
      descr("'f8'", "descr 'f8' has no byte order"), descr("'|f8'", "descr '|f8' has no byte order"),
      descr("'=f8'", "descr '=f8' means the order of an unknown machine"),
      descr("'<x8'", "descr '<x8' has no known kind"),
      descr("'<f'", "descr '<f' states no size in plain digits"),
      descr("'<f08'", "descr '<f08' states no size in plain digits"),
      descr("'<f8,'", "descr '<f8,' states no size in plain digits"),
      descr("'<i3'", "descr '<i3' has a size that its kind does not come in"),
      descr("'|b2'", "descr '|b2' has a size that its kind does not come in"),
      descr(
        "'\(String(repeating: "<", count: 40))'",
        "descr '\(String(repeating: "<", count: 32))…' has no known kind"),
      // The shape.
      shape("3", "the shape is not a tuple"), shape("[3]", "the shape is not a tuple"),
      shape("None", "the shape is not a tuple"),
      shape("(3)", "the shape is a number in parentheses, not a tuple, which has a comma"),
      shape("(3, -1)", at: 4, "dimension 1 of the shape is negative"),
      shape("(-0,)", at: 1, "dimension 0 of the shape is negative"),
      shape("(,)", at: 1, "an integer is expected in the shape, and ',' stands there"),
      shape("(3,,)", at: 3, "an integer is expected in the shape, and ',' stands there"),
      shape("(True,)", at: 1, "an integer is expected in the shape, and 'T' stands there"),
      shape("(3.0,)", at: 2, "',' or ')' is expected in the shape, and '.' stands there"),
      shape("(0x3,)", at: 2, "',' or ')' is expected in the shape, and 'x' stands there"),
      shape("(1_0,)", at: 2, "',' or ')' is expected in the shape, and '_' stands there"),
      shape("(3LL,)", at: 3, "',' or ')' is expected in the shape, and 'L' stands there"),
      shape("(3 4)", at: 3, "',' or ')' is expected in the shape, and '4' stands there"),
      shape("((3,),)", at: 1, "an integer is expected in the shape, and '(' stands there"),
      shape("(03,)", at: 1, "dimension 0 of the shape has a leading zero"),
      shape("(9223372036854775808,)", at: 1, "dimension 0 of the shape is more than 9223372036854775807"),
      shape("(99999999999999999999999,)", at: 1, "dimension 0 of the shape is more than 9223372036854775807"),
      shape(
        "(9223372036854775807,)", "an array of shape (9223372036854775807,) and <f8 elements has too many bytes"),
      shape(
        "(0, 4294967296, 4294967296)",
        "an array of shape (0, 4294967296, 4294967296) and <f8 elements has too many bytes"),
      shape("(\(String(repeating: "1,", count: 65)))", "the shape has more than 64 dimensions"),
      (
        Base.wrap(fields("'<f8'", "(3L,)"), version: 3), 64,
        "',' or ')' is expected in the shape, and 'L' stands there"
      ),
    ]
  }

  @Test func `a bad header is refused with the place and the reason`() {
    for (bytes, offset, reason) in Self.refusals {
      let error = #expect(throws: MappingError.self, "\(reason)") { try NumPyHeader(parsing: bytes) }
      #expect(error.map(Base.note) == reason)
      #expect(error?.offset == Int64(offset), "\(reason)")
      #expect(error?.code == .invalidLayout)
      #expect(error?.description.contains(reason) == true)
    }
  }

  @Test func `the size of a header is known from its first bytes`() throws {
    let bytes = try NumPyHeader(elementType: Int8.numPyElementType, shape: [5], minimumHeaderSize: 4096).encoded()
    for count in 0...20 {
      withSpan(Array(bytes.prefix(count))) { span in
        do {
          let size = try NumPyHeader.size(statedIn: span)
          check(size == 4096 && count >= 10, "\(count) bytes")
        } catch {
          check(count < 10, "\(count) bytes: \(error)")
        }
      }
    }
  }

  @Test func `no byte behind the header is touched`() throws {
    let bytes = try NumPyHeader(elementType: Int8.numPyElementType, shape: [5]).encoded()
    for count in 0...bytes.count {
      try withFencedSpan(Array(bytes.prefix(count)), atEnd: true) { span in
        do throws(MappingError) {
          let header = try NumPyHeader(parsing: span)
          check(count == bytes.count && header.shape == [5])
        } catch {
          check(count < bytes.count && error.code == .invalidLayout, "\(count) bytes: \(error)")
        }
      }
    }
  }

  @Test func `every truncation is refused, and every change of a byte is refused or read`() throws {
    let texts = [
      try NumPyHeader(elementType: NumPyElementType("<c16")!, shape: [12, 0, 3]).encoded(),
      try NumPyHeader(elementType: NumPyElementType("|b1")!, shape: [], isFortranOrder: true).encoded(),
      Base.wrap("{\"shape\":(3L,),u'fortran_order':True,\"descr\":\">i2\"}", version: 2),
    ]
    for bytes in texts {
      for count in 0..<bytes.count {
        #expect(throws: MappingError.self, "\(count)") { try NumPyHeader(parsing: Array(bytes.prefix(count))) }
      }
      var changed = bytes
      var readable = 0
      for place in bytes.indices {
        for value in UInt8.min...UInt8.max {
          changed[place] = value
          do {
            Base.checkInvariants(try NumPyHeader(parsing: changed), bytes: bytes.count)
            readable += 1
          } catch {
            check(error.code == .invalidLayout, "byte \(place) = \(value): \(error)")
          }
        }
        changed[place] = bytes[place]
      }
      // Each place keeps its own value once, and few others make sense.
      #expect(readable >= bytes.count && readable < bytes.count * 12, "\(readable) of \(bytes.count * 256)")
    }
  }
}

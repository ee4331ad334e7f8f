// SPDX-License-Identifier: Apache-2.0

/// Reads the Python dictionary of a `.npy` header: three keys, a string, a truth value and a tuple of integers.
///
/// Walks over the bytes once, without recursion. Every refusal names the offset in the file.
internal struct NumPyText {
  /// What the dictionary says.
  struct Fields {
    var elementType: NumPyElementType
    var isFortranOrder: Bool
    var shape: [Int]
    var shapeOffset: Int
  }

  /// The header with everything in front of the dictionary, so that an index is an offset in the file.
  private let bytes: [UInt8]
  private var at: Int
  private let version: Int

  init(_ bytes: [UInt8], from start: Int, version: Int) {
    self.bytes = bytes
    at = start
    self.version = version
  }

  /// The whole text: a dictionary, and nothing but spaces around it.
  mutating func dictionary() throws(MappingError) -> Fields {
    var elementType: NumPyElementType?
    var isFortranOrder: Bool?
    var shape: (counts: [Int], offset: Int)?

    skipSpace()
    try expect("{", in: "the header")
    skipSpace()
    while !take("}") {
      let start = at
      let key = try string("a key")
      skipSpace()
      try expect(":", in: "the dictionary")
      skipSpace()
      let value = at
      switch String(decoding: key, as: UTF8.self) {
      case "descr":
        if elementType != nil { throw duplicate(key, at: start) }
        elementType = try descr()
      case "fortran_order":
        if isFortranOrder != nil { throw duplicate(key, at: start) }
        isFortranOrder = try truth()
      case "shape":
        if shape != nil { throw duplicate(key, at: start) }
        shape = (try tuple(), value)
      default:
        throw refusal("the key \(Self.quoted(key)) is not known", at: start)
      }
      skipSpace()
      if take(",") {
        skipSpace()
      } else if peek != UInt8(ascii: "}") {
        throw unexpected("',' or '}'", "the dictionary")
      }
    }
    let end = at - 1
    skipSpace()
    if at < bytes.count { throw refusal("\(Self.quoted(bytes[at..<at + 1])) stands behind the dictionary", at: at) }
    guard let elementType else { throw refusal("the key 'descr' is missing", at: end) }
    guard let isFortranOrder else { throw refusal("the key 'fortran_order' is missing", at: end) }
    guard let shape else { throw refusal("the key 'shape' is missing", at: end) }
    return Fields(
      elementType: elementType, isFortranOrder: isFortranOrder, shape: shape.counts, shapeOffset: shape.offset)
  }

  // MARK: Values

  private mutating func descr() throws(MappingError) -> NumPyElementType {
    let start = at
    switch peek {
    case UInt8(ascii: "["), UInt8(ascii: "{"):
      throw refusal("descr is a structured type, whose elements are records", at: at)
    case UInt8(ascii: "("): throw refusal("descr is a subarray type, whose elements are arrays", at: at)
    default: break
    }
    let name = try string("the value of 'descr'")
    do throws(NumPyElementType.Refusal) { return try NumPyElementType(descr: name) } catch {
      throw refusal(error.reason, at: start)
    }
  }

  private mutating func truth() throws(MappingError) -> Bool {
    for (word, value) in [("True", true), ("False", false)] where bytes[at...].starts(with: word.utf8) {
      at += word.utf8.count
      return value
    }
    throw refusal("fortran_order is neither True nor False", at: at)
  }

  private mutating func tuple() throws(MappingError) -> [Int] {
    let start = at
    guard take("(") else { throw refusal("the shape is not a tuple", at: at) }
    var counts: [Int] = []
    var hasComma = false
    skipSpace()
    while !take(")") {
      if counts.count == NumPyHeader.maximumDimensionCount {
        throw refusal("the shape has more than \(NumPyHeader.maximumDimensionCount) dimensions", at: start)
      }
      counts.append(try integer(dimension: counts.count))
      skipSpace()
      if take(",") {
        hasComma = true
        skipSpace()
      } else if peek != UInt8(ascii: ")") {
        throw unexpected("',' or ')'", "the shape")
      }
    }
    if counts.count == 1, !hasComma {
      throw refusal("the shape is a number in parentheses, not a tuple, which has a comma", at: start)
    }
    return counts
  }

  /// Decimal digits without sign. Python 2 wrote an `L` behind long ones, which NumPy removes except in version 3.0.
  private mutating func integer(dimension: Int) throws(MappingError) -> Int {
    let start = at
    if peek == UInt8(ascii: "-") { throw refusal("dimension \(dimension) of the shape is negative", at: at) }
    var value = 0
    while let digit = peek, Self.isDigit(digit) {
      let (tens, overflow) = value.multipliedReportingOverflow(by: 10)
      let (sum, overflowOfSum) = tens.addingReportingOverflow(Int(digit - UInt8(ascii: "0")))
      if overflow || overflowOfSum {
        throw refusal("dimension \(dimension) of the shape is more than \(Int.max)", at: start)
      }
      value = sum
      at += 1
    }
    guard at > start else { throw unexpected("an integer", "the shape") }
    if at > start + 1, bytes[start] == UInt8(ascii: "0") {
      throw refusal("dimension \(dimension) of the shape has a leading zero", at: start)
    }
    if version < 3 { _ = take("L") }
    return value
  }

  /// The bytes between two quotes of either kind, with Python 2's `u` in front allowed. Escapes are refused: no key and
  /// no type has one.
  private mutating func string(_ what: String) throws(MappingError) -> [UInt8] {
    if let next = peek, next == UInt8(ascii: "u") { at += 1 }
    guard let quote = peek, quote == UInt8(ascii: "'") || quote == UInt8(ascii: "\"") else {
      throw unexpected("a string", "\(what)")
    }
    let start = at + 1
    at = start
    while let next = peek {
      if next == quote {
        at += 1
        return Array(bytes[start..<at - 1])
      }
      if next == UInt8(ascii: "\\") { throw refusal("an escape stands in \(what)", at: at) }
      if next < 0x20 { break }
      at += 1
    }
    throw refusal("the string of \(what) does not end", at: start - 1)
  }

  // MARK: Tokens

  private var peek: UInt8? { at < bytes.count ? bytes[at] : nil }

  private mutating func take(_ sign: Unicode.Scalar) -> Bool {
    guard peek == UInt8(ascii: sign) else { return false }
    at += 1
    return true
  }

  private mutating func expect(_ sign: Unicode.Scalar, in place: String) throws(MappingError) {
    if !take(sign) { throw unexpected("'\(sign)'", place) }
  }

  /// What Python takes for space inside brackets.
  private mutating func skipSpace() {
    while let next = peek, next == 0x20 || 0x09...0x0D ~= next && next != 0x0B { at += 1 }
  }

  // MARK: Refusals

  private func refusal(_ reason: String, at offset: Int) -> MappingError {
    .numPyHeader(.load, reason, at: offset)
  }

  private func duplicate(_ key: [UInt8], at offset: Int) -> MappingError {
    refusal("the key \(Self.quoted(key)) stands there twice", at: offset)
  }

  private func unexpected(_ expected: String, _ place: String) -> MappingError {
    let found = peek.map { Self.quoted(CollectionOfOne($0)) } ?? "the end"
    return refusal("\(expected) is expected in \(place), and \(found) stands there", at: at)
  }

  static func isDigit(_ byte: UInt8) -> Bool { UInt8(ascii: "0")...UInt8(ascii: "9") ~= byte }

  /// Bytes of a file as they can stand in a message: printable, quoted, and not too many.
  static func quoted(_ bytes: some Collection<UInt8>) -> String {
    let text = bytes.prefix(32).map { byte in
      0x20...0x7E ~= byte ? String(Unicode.Scalar(byte)) : "\\x" + (byte < 16 ? "0" : "") + String(byte, radix: 16)
    }
    return "'\(text.joined())\(bytes.count > 32 ? "…" : "")'"
  }
}

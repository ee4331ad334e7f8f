// SPDX-License-Identifier: Apache-2.0

extension NumPyHeader {
  /// The header's bytes, ``dataOffset`` of them: what NumPy writes, then spaces up to a final newline.
  ///
  /// - Throws: ``MappingError`` with the code ``MappingError/Code/invalidLayout`` for a header that was parsed and whose
  ///   text was tighter than NumPy's, so that NumPy's does not fit into its place.
  /// - Complexity: O(``dataOffset``).
  public func encoded() throws(MappingError) -> [UInt8] {
    let text = try textInPlace()
    let length = dataOffset - Self.prefixSize(version: formatVersion)
    var bytes = Self.magic + [UInt8(formatVersion), 0]
    for place in 0..<Self.lengthSize(version: formatVersion) {
      bytes.append(UInt8(truncatingIfNeeded: length >> (8 * place)))
    }
    bytes += text.utf8
    bytes += repeatElement(UInt8(ascii: " "), count: dataOffset - 1 - bytes.count)
    bytes.append(UInt8(ascii: "\n"))
    return bytes
  }

  /// The dictionary, or a refusal where it and its newline do not fit into this header's size.
  internal func textInPlace() throws(MappingError) -> String {
    let text = Self.text(elementType: elementType, shape: shape, isFortranOrder: isFortranOrder)
    let need = Self.prefixSize(version: formatVersion) + text.utf8.count + 1
    guard need <= dataOffset else {
      throw .numPyHeader(
        .write, "it takes \(need) bytes, and the elements begin at byte \(dataOffset)")
    }
    return text
  }

  /// `\x93NUMPY`.
  internal static let magic: [UInt8] = [0x93, 0x4E, 0x55, 0x4D, 0x50, 0x59]

  /// Bytes of the field that holds the length.
  internal static func lengthSize(version: Int) -> Int { version == 1 ? 2 : 4 }

  /// Bytes in front of the dictionary: the magic, the version and the length.
  internal static func prefixSize(version: Int) -> Int { magic.count + 2 + lengthSize(version: version) }

  /// The dictionary as Python's `repr` prints its parts, keys sorted.
  internal static func text(elementType: NumPyElementType, shape: [Int], isFortranOrder: Bool) -> String {
    let order = isFortranOrder ? "True" : "False"
    return "{'descr': '\(elementType)', 'fortran_order': \(order), 'shape': \(text(of: shape)), }"
  }

  /// A tuple as Python prints it: `()`, `(3,)`, `(3, 4)`.
  internal static func text(of shape: [Int]) -> String {
    shape.count == 1 ? "(\(shape[0]),)" : "(" + shape.map { "\($0)" }.joined(separator: ", ") + ")"
  }

  /// Spaces behind the dictionary that let the growing dimension reach 21 digits, more than 2 to the power of 64 has.
  /// NumPy: `GROWTH_AXIS_MAX_DIGITS`.
  internal static func growthRoom(shape: [Int], isFortranOrder: Bool) -> Int {
    guard let count = isFortranOrder ? shape.last : shape.first else { return 0 }
    return max(0, 21 - "\(count)".utf8.count)
  }

  /// The version and the size of a header whose text and room for growth take `textSize` bytes.
  ///
  /// The size is a multiple of 64, and NumPy adds 64 spaces more where the text alone already makes one. Version 1.0
  /// wherever the length fits its two bytes: each NumPy reads it.
  internal static func layout(textSize: Int, minimumSize: Int) -> (version: Int, size: Int) {
    func size(version: Int) -> Int {
      let least = prefixSize(version: version) + textSize + 1
      return max(least + 64 - least % 64, (minimumSize + 63) / 64 * 64)
    }
    let small = size(version: 1)
    return small - prefixSize(version: 1) <= UInt16.max ? (1, small) : (2, size(version: 2))
  }
}

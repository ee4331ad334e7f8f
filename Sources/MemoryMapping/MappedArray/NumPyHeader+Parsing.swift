// SPDX-License-Identifier: Apache-2.0

extension NumPyHeader {
  /// Reads the header of a file.
  ///
  /// Accepts what NumPy accepts, as far as a program would write it: keys in any order, either kind of quotes, free
  /// spaces, the `L` behind the integers of Python 2. Refuses what it does not understand to the last byte. The bytes
  /// are copied before they are looked at, so that a file that is being rewritten is not read in two states.
  ///
  /// - Parameter bytes: the start of the file, with the whole header in it; more is not looked at. How many bytes are
  ///   needed, ``size(statedIn:)`` tells.
  /// - Throws: ``MappingError`` with the code ``MappingError/Code/invalidLayout``, the offset of what is wrong, and a
  ///   note that says what.
  /// - Complexity: O(size of the header), which is ``maximumSize`` at most.
  public init(parsing bytes: RawSpan) throws(MappingError) {
    let prefix = try Self.prefix(of: bytes)
    guard prefix.size <= bytes.byteCount else {
      throw .numPyHeader(
        .load,
        "the header length states \(prefix.size - prefix.textOffset) bytes, and \(bytes.byteCount - prefix.textOffset)"
          + " follow", at: 8)
    }
    // Right because the size was just compared with the span's.
    let header = unsafe bytes.withUnsafeBytes { unsafe Array($0[..<prefix.size]) }
    var reader = NumPyText(header, from: prefix.textOffset, version: prefix.version)
    let fields = try reader.dictionary()
    try self.init(
      elementType: fields.elementType, shape: fields.shape, isFortranOrder: fields.isFortranOrder,
      formatVersion: prefix.version, dataOffset: prefix.size, operation: .load, offset: fields.shapeOffset)
  }

  /// Reads the header of a file.
  ///
  /// - Parameter bytes: the start of the file, with the whole header in it; more is not looked at.
  /// - Throws: as ``init(parsing:)-(RawSpan)`` does.
  /// - Complexity: O(size of the header), which is ``maximumSize`` at most.
  public init(parsing bytes: [UInt8]) throws(MappingError) {
    // Right because bytes of an array of UInt8 are all initialized.
    try unsafe self.init(parsing: bytes.span.bytes)
  }

  /// The size of a file's header, which is where its elements begin, from the first 12 bytes.
  ///
  /// - Parameter bytes: the start of the file; 10 bytes are enough for version 1.0, and 12 for all.
  /// - Throws: ``MappingError`` with the code ``MappingError/Code/invalidLayout`` and a note for bytes that begin no
  ///   header, and for a size above ``maximumSize``.
  public static func size(statedIn bytes: RawSpan) throws(MappingError) -> Int { try prefix(of: bytes).size }

  /// What stands in front of the dictionary.
  private struct Prefix {
    var version: Int
    /// Where the dictionary begins.
    var textOffset: Int
    /// Of the whole header.
    var size: Int
  }

  private static func prefix(of bytes: RawSpan) throws(MappingError) -> Prefix {
    func byte(_ offset: Int) -> UInt8 { bytes[offset, as: UInt8.self] }
    func ends(in part: String) -> MappingError {
      .numPyHeader(.load, "it ends inside the \(part)", at: bytes.byteCount)
    }

    for (offset, expected) in magic.enumerated() {
      guard offset < bytes.byteCount else { throw ends(in: "magic bytes") }
      guard byte(offset) == expected else {
        throw .numPyHeader(.load, "it does not begin with the magic bytes \\x93NUMPY", at: offset)
      }
    }
    guard bytes.byteCount >= 8 else { throw ends(in: "version") }
    let (major, minor) = (Int(byte(6)), Int(byte(7)))
    guard 1...3 ~= major, minor == 0 else {
      throw .numPyHeader(
        .load, "version \(major).\(minor) of the format is not known; 1.0, 2.0 and 3.0 are", at: 6)
    }
    let textOffset = prefixSize(version: major)
    guard bytes.byteCount >= textOffset else { throw ends(in: "header length") }
    let length = (8..<textOffset).reduce(0) { $0 | Int(byte($1)) << (8 * ($1 - 8)) }
    guard length <= maximumSize - textOffset else {
      throw .numPyHeader(
        .load, "the header length makes a header of \(textOffset + length) bytes; the limit is \(maximumSize)", at: 8)
    }
    return Prefix(version: major, textOffset: textOffset, size: textOffset + length)
  }
}

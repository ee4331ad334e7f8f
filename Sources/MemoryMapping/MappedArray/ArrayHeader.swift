// SPDX-License-Identifier: Apache-2.0

/// The header of an array's file as it lies there, and where in it the number of rows stands.
///
/// A header that is made here has its count in a field of its own, 16 characters from a multiple of 8 on, with the spaces
/// in front that Python allows:
///
/// ```text
/// {'descr': '<f8', 'fortran_order': False, 'shape': (              1234, 3), }
///                                            byte 64 |---- field ----|
/// ```
///
/// So nothing else moves when the count gets another digit. A new count is one aligned word in nearly all cases, two where
/// it passes 100 million, and always within the first 512 bytes of the file: a device writes those as a whole or not, and so
/// a power cut leaves the old count or the new one. A reader that loads the header at the same instant sees one of them, too.
internal struct ArrayHeader: Sendable {
  /// What the bytes say.
  internal private(set) var header: NumPyHeader
  /// The file's first ``NumPyHeader/dataOffset`` bytes.
  internal private(set) var bytes: [UInt8]
  /// Where the count's field begins once it is rewritten; nil where the header has no room for one.
  internal let field: Int?

  internal static let fieldSize = 16
  /// Of a device that writes no smaller piece: the unit that a power cut does not tear.
  internal static let sectorSize = 512
  internal static let maximumRows = 9_999_999_999_999_999

  /// A header as another program or an earlier run wrote it.
  internal init(parsing bytes: [UInt8]) throws(MappingError) {
    let header = try NumPyHeader(parsing: bytes)
    let own = Array(bytes.prefix(header.dataOffset))
    var field = Self.field(of: header)
    // Text of another writer that goes on behind the sector would have to be replaced there, too.
    if field != nil,
      try own[min(Self.sectorSize, own.count)...]
        != Self.encoded(header, field: field)[min(Self.sectorSize, own.count)...]
    {
      field = nil
    }
    self.header = header
    self.bytes = own
    self.field = field
  }

  /// A header for a new file.
  internal init(elementType: NumPyElementType, shape: [Int], minimumSize: Int) throws(MappingError) {
    try Self.checkRows(shape)
    var header = try NumPyHeader(elementType: elementType, shape: shape, minimumHeaderSize: minimumSize)
    if Self.field(of: header) == nil, !shape.isEmpty {
      header = try NumPyHeader(
        elementType: elementType, shape: shape, minimumHeaderSize: max(minimumSize, header.dataOffset + 64))
    }
    self.header = header
    field = Self.field(of: header)
    bytes = try Self.encoded(header, field: field)
  }

  /// The number of rows: the first dimension. 1 for a single value.
  internal var rows: Int { header.shape.first ?? 1 }

  /// The same header with another number of rows.
  internal func resized(to rows: Int) throws(MappingError) -> ArrayHeader {
    guard field != nil else {
      throw MappingError(.notSupported, operation: .resize, detail: .note(reasonNotToGrow))
    }
    var copy = self
    copy.header = try header.resized(to: rows)
    try Self.checkRows(copy.header.shape)
    copy.bytes = try Self.encoded(copy.header, field: field)
    return copy
  }

  /// Why ``field`` is nil.
  internal var reasonNotToGrow: String {
    header.shape.isEmpty
      ? "a single value has no dimension that could grow"
      : "its header has no room for another length in its first \(Self.sectorSize) bytes; copy it into a new file"
  }

  /// The bytes that have to be written so that a file with `old` has this header: whole words, within one sector.
  internal func difference(from old: ArrayHeader) -> Range<Int>? {
    guard let first = bytes.indices.first(where: { bytes[$0] != old.bytes[$0] }),
      let last = bytes.indices.last(where: { bytes[$0] != old.bytes[$0] })
    else { return nil }
    return first / 8 * 8..<min((last / 8 + 1) * 8, bytes.count)
  }

  private static func checkRows(_ shape: [Int]) throws(MappingError) {
    guard shape.first ?? 0 <= maximumRows else {
      throw MappingError(.limitExceeded, operation: .resize, detail: .limit(Int64(maximumRows)))
    }
  }

  private static func head(_ header: NumPyHeader) -> String {
    "{'descr': '\(header.elementType)', 'fortran_order': False, 'shape': ("
  }

  private static func tail(_ header: NumPyHeader) -> String {
    header.shape.count == 1 ? ",), }" : header.shape.dropFirst().map { ", \($0)" }.joined() + "), }"
  }

  private static func field(of header: NumPyHeader) -> Int? {
    guard !header.shape.isEmpty, !header.isFortranOrder else { return nil }
    let start = NumPyHeader.prefixSize(version: header.formatVersion) + head(header).utf8.count
    let field = (start + 7) / 8 * 8
    // All of the text, because a file of another writer has it in another form, and that is one write, too.
    let end = field + fieldSize + tail(header).utf8.count + 1
    return end <= min(header.dataOffset, sectorSize) ? field : nil
  }

  private static func encoded(_ header: NumPyHeader, field: Int?) throws(MappingError) -> [UInt8] {
    var bytes = try header.encoded()
    guard let field else { return bytes }
    let prefix = NumPyHeader.prefixSize(version: header.formatVersion)
    var text = Array(head(header).utf8)
    let count = Array("\(header.shape[0])".utf8)
    text += repeatElement(UInt8(ascii: " "), count: field + fieldSize - count.count - prefix - text.count)
    text += count + Array(tail(header).utf8)
    text += repeatElement(UInt8(ascii: " "), count: bytes.count - 1 - prefix - text.count)
    bytes.replaceSubrange(prefix..<bytes.count - 1, with: text)
    return bytes
  }
}

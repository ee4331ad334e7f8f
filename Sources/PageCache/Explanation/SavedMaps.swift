// SPDX-License-Identifier: Apache-2.0

package import MemoryMapping

/// A saved text of /proc/PID/maps, or of smaps.
package enum SavedMaps {
  /// Most that is read, bytes.
  package static let limit = 256 << 20

  /// Reads all its mappings, by address.
  ///
  /// - Throws: `unknownFormat` with the number of the first line that is none of such a text.
  package static func parse(_ bytes: [UInt8]) throws(MappingError) -> [ProcessMapping] {
    let text = bytes.span
    var found: [ProcessMapping] = []
    var lines = TextLines()
    while let line = lines.next(text) {
      // A text that went through another system may have lines that end in CR.
      let end = !line.isEmpty && text[line.upperBound - 1] == 0x0D ? line.upperBound - 1 : line.upperBound
      if let parsed = MapsLine(text, line.lowerBound..<end) {
        found.append(parsed.mapping(text))
      } else if end > line.lowerBound, !isField(text, line.lowerBound..<end) {
        throw MappingError(
          .unknownFormat, operation: .init("read the mappings"), offset: Int64(line.lowerBound),
          detail: .note("line \(lines.number) is none of /proc/PID/maps"))
      }
    }
    guard !found.isEmpty else {
      throw MappingError(
        .unknownFormat, operation: .init("read the mappings"), detail: .note("there is no line of /proc/PID/maps"))
    }
    return found.sorted { $0.addresses.lowerBound < $1.addresses.lowerBound }
  }

  /// A line of smaps below the first: `Rss:   4 kB`.
  private static func isField(_ text: Span<UInt8>, _ line: Range<Int>) -> Bool {
    for index in line {
      let byte = text[index]
      if byte == UInt8(ascii: ":") { return index > line.lowerBound }
      let isWord =
        byte >= UInt8(ascii: "A") && byte <= UInt8(ascii: "Z") || byte >= UInt8(ascii: "a") && byte <= UInt8(ascii: "z")
        || byte >= UInt8(ascii: "0") && byte <= UInt8(ascii: "9") || byte == UInt8(ascii: "_")
      if !isWord || index == line.lowerBound && (byte < UInt8(ascii: "A") || byte > UInt8(ascii: "Z")) { return false }
    }
    return false
  }
}

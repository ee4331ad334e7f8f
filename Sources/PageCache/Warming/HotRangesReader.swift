// SPDX-License-Identifier: Apache-2.0

internal import MemoryMapping
internal import SystemPackage

/// Reads the text of ``HotRanges``, whatever somebody has done to it.
internal struct HotRangesReader {
  private let bytes: [UInt8]
  private let path: FilePath
  private var at = 0
  private var line = 0

  internal init(bytes: [UInt8], path: FilePath) {
    self.bytes = bytes
    self.path = path
  }

  internal mutating func read() throws(MappingError) -> [HotRanges.File] {
    guard let head = nextLine(), head.elementsEqual("pagewise hot ranges 1".utf8) else {
      let isLater = bytes.starts(with: "pagewise hot ranges ".utf8)
      throw MappingError(
        .unknownFormat, operation: .read, path: path,
        detail: .note(isLater ? "a list of a later version" : "not a list that 'pagewise warm --save' made"))
    }
    var files: [HotRanges.File] = []
    var ranges = 0
    while true {
      let begin = at
      guard let text = nextLine() else { throw bad("the list is cut: it has no 'end'") }
      let words = text.split(separator: 0x20, omittingEmptySubsequences: false)
      switch words.first.map({ String(decoding: $0, as: UTF8.self) }) {
      case "file" where words.count == 4:
        files.append(
          HotRanges.File(
            path: try name(words[3]), size: try number(words[1]), modified: try number(words[2], isSigned: true),
            ranges: []))
      case "range" where words.count == 3:
        let first = try number(words[1])
        let end = try number(words[2])
        let before = files.last.map { $0.ranges.last?.upperBound ?? -1 } ?? .max
        guard before < first, first < end else { throw bad("a range that is empty, out of order or of no file") }
        files[files.count - 1].ranges.append(first..<end)
        ranges += 1
      case "end" where words.count == 4:
        guard try number(words[1]) == files.count, try number(words[2]) == ranges,
          words[3].elementsEqual(HotRanges.checksum(bytes[..<begin]).utf8)
        else { throw bad("the list was changed: its counts or its checksum are not those of the 'end'") }
        guard at == bytes.count else { throw bad("there is more behind the 'end'") }
        return files
      default: throw bad("neither a file, nor a range, nor the end")
      }
    }
  }

  /// Without its end; nil where there is no whole line.
  private mutating func nextLine() -> ArraySlice<UInt8>? {
    guard let end = bytes[at...].firstIndex(of: 0x0A) else { return nil }
    defer { at = end + 1 }
    line += 1
    return bytes[at..<end]
  }

  private func bad(_ reason: String) -> MappingError {
    MappingError(.corrupt, operation: .read, path: path, detail: .note("line \(line): \(reason)"))
  }

  private func number(_ text: ArraySlice<UInt8>, isSigned: Bool = false) throws(MappingError) -> Int64 {
    let digits = isSigned && text.first == 0x2D ? text.dropFirst() : text
    guard !digits.isEmpty, digits.allSatisfy({ 0x30...0x39 ~= $0 }),
      let value = Int64(String(decoding: text, as: UTF8.self))
    else { throw bad("a number that is none, or too large") }
    return value
  }

  private func name(_ text: ArraySlice<UInt8>) throws(MappingError) -> FilePath {
    func digit(_ index: Int) -> UInt8? {
      guard index < text.endIndex else { return nil }
      return switch text[index] {
      case let byte where 0x30...0x39 ~= byte: byte - 0x30
      case let byte where 0x41...0x46 ~= byte: byte - 0x41 + 10
      default: nil
      }
    }
    var out: [CChar] = []
    var index = text.startIndex
    while index < text.endIndex {
      var byte = text[index]
      if byte == 0x25 {
        guard let high = digit(index + 1), let low = digit(index + 2) else { throw bad("a path with a bad '%'") }
        byte = high << 4 | low
        index += 2
      }
      guard byte != 0 else { throw bad("a path with a NUL") }
      out.append(CChar(bitPattern: byte))
      index += 1
    }
    guard !out.isEmpty else { throw bad("an empty path") }
    out.append(0)
    return unsafe out.withUnsafeBufferPointer { unsafe FilePath(platformString: $0.baseAddress!) }
  }
}

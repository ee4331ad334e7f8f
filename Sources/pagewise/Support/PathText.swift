// SPDX-License-Identifier: Apache-2.0

internal import SystemPackage

/// Paths as people and programs read them. A path is bytes; they need not be text.
enum PathText {
  /// On one line, whatever the bytes: control characters, a backslash and what is not UTF-8 are escaped as in C.
  static func shown(_ path: FilePath) -> String { escaped(bytes(of: path)) }

  static func bytes(of path: FilePath) -> [UInt8] {
    unsafe path.withPlatformString { start in
      var bytes: [UInt8] = []
      var at = 0
      while unsafe start[at] != 0 {
        bytes.append(UInt8(bitPattern: unsafe start[at]))
        at += 1
      }
      return bytes
    }
  }

  static func isText(_ bytes: [UInt8]) -> Bool { String(validating: bytes, as: UTF8.self) != nil }

  static func hex(_ bytes: [UInt8]) -> String {
    let digits = Array("0123456789abcdef")
    return String(bytes.flatMap { [digits[Int($0 >> 4)], digits[Int($0 & 15)]] })
  }

  static func escaped(_ bytes: [UInt8]) -> String {
    var out = ""
    var rest = bytes[...]
    while let first = rest.first {
      // The longest valid character at the front, if there is one.
      let length = first < 0x80 ? 1 : first >= 0xF0 ? 4 : first >= 0xE0 ? 3 : first >= 0xC2 ? 2 : 0
      let piece = rest.prefix(length)
      if length > 0, piece.count == length, let text = String(validating: piece, as: UTF8.self),
        let scalar = text.unicodeScalars.first, !isControl(scalar)
      {
        out += text == "\\" ? "\\\\" : text
        rest = rest.dropFirst(length)
        continue
      }
      switch first {
      case 0x0A: out += "\\n"
      case 0x09: out += "\\t"
      case 0x0D: out += "\\r"
      default: out += "\\x" + hex([first])
      }
      rest = rest.dropFirst()
    }
    return out
  }

  /// Controls, and the marks that turn the direction of a line or hide in it.
  private static func isControl(_ scalar: Unicode.Scalar) -> Bool {
    switch scalar.properties.generalCategory {
    case .control, .format, .lineSeparator, .paragraphSeparator, .unassigned, .privateUse: true
    default: false
    }
  }
}

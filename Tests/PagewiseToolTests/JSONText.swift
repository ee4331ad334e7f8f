// SPDX-License-Identifier: Apache-2.0

/// JSON as RFC 8259 has it and nothing more, with the order of names kept and doubled names refused.
indirect enum JSON: Equatable {
  case null
  case bool(Bool)
  case number(String)
  case string(String)
  case array([JSON])
  case object([(name: String, value: JSON)])

  struct SyntaxError: Error {
    let at: Int
    let what: String
  }

  init(_ text: String) throws {
    var parser = Parser(bytes: Array(text.utf8))
    self = try parser.document()
  }

  static func == (one: JSON, other: JSON) -> Bool {
    switch (one, other) {
    case (.null, .null): true
    case (.bool(let a), .bool(let b)): a == b
    case (.number(let a), .number(let b)): a == b
    case (.string(let a), .string(let b)): a == b
    case (.array(let a), .array(let b)): a == b
    case (.object(let a), .object(let b)):
      a.count == b.count && zip(a, b).allSatisfy { $0.name == $1.name && $0.value == $1.value }
    default: false
    }
  }

  /// A member; null where there is none.
  subscript(_ name: String) -> JSON {
    guard case .object(let members) = self else { return .null }
    return members.first { $0.name == name }?.value ?? .null
  }

  var names: [String] {
    guard case .object(let members) = self else { return [] }
    return members.map(\.name)
  }

  var items: [JSON] {
    guard case .array(let items) = self else { return [] }
    return items
  }

  var text: String? {
    guard case .string(let text) = self else { return nil }
    return text
  }

  var number: Double? {
    guard case .number(let text) = self else { return nil }
    return Double(text)
  }

  var integer: Int? {
    guard case .number(let text) = self else { return nil }
    return Int(text)
  }

  var isNumber: Bool { number != nil }
}

extension JSON {
  fileprivate struct Parser {
    let bytes: [UInt8]
    var at = 0

    init(bytes: [UInt8]) { self.bytes = bytes }

    mutating func document() throws -> JSON {
      let value = try value(depth: 0)
      skipSpace()
      guard at == bytes.count else { throw failed("more after the end") }
      return value
    }

    private func failed(_ what: String) -> SyntaxError { SyntaxError(at: at, what: what) }
    private var next: UInt8? { at < bytes.count ? bytes[at] : nil }

    private mutating func skipSpace() {
      while let byte = next, [0x20, 0x0A, 0x0D, 0x09].contains(byte) { at += 1 }
    }

    private mutating func take(_ text: String) throws {
      for byte in text.utf8 {
        guard next == byte else { throw failed("\(text) expected") }
        at += 1
      }
    }

    private mutating func takes(_ text: String) -> Bool {
      guard next == text.utf8.first else { return false }
      at += 1
      return true
    }

    private mutating func value(depth: Int) throws -> JSON {
      guard depth < 20 else { throw failed("too deep") }
      skipSpace()
      switch next.map({ UnicodeScalar($0) }) {
      case "{": return try object(depth)
      case "[": return try array(depth)
      case "\"": return .string(try string())
      case "t":
        try take("true")
        return .bool(true)
      case "f":
        try take("false")
        return .bool(false)
      case "n":
        try take("null")
        return .null
      default: return .number(try number())
      }
    }

    private mutating func object(_ depth: Int) throws -> JSON {
      try take("{")
      var members: [(name: String, value: JSON)] = []
      skipSpace()
      if takes("}") { return .object([]) }
      repeat {
        skipSpace()
        let name = try string()
        guard !members.contains(where: { $0.name == name }) else { throw failed("\(name) stands twice") }
        skipSpace()
        try take(":")
        members.append((name, try value(depth: depth + 1)))
        skipSpace()
      } while takes(",")
      try take("}")
      return .object(members)
    }

    private mutating func array(_ depth: Int) throws -> JSON {
      try take("[")
      var items: [JSON] = []
      skipSpace()
      if takes("]") { return .array([]) }
      repeat {
        items.append(try value(depth: depth + 1))
        skipSpace()
      } while takes(",")
      try take("]")
      return .array(items)
    }

    private mutating func digits() throws {
      let start = at
      while let byte = next, (0x30...0x39).contains(byte) { at += 1 }
      guard at > start else { throw failed("digit expected") }
    }

    private mutating func number() throws -> String {
      let start = at
      _ = takes("-")
      if !takes("0") { try digits() }
      if takes(".") { try digits() }
      if takes("e") || takes("E") {
        if !takes("+") { _ = takes("-") }
        try digits()
      }
      return String(decoding: bytes[start..<at], as: UTF8.self)
    }

    private mutating func string() throws -> String {
      try take("\"")
      var units: [UInt8] = []
      while let byte = next, byte != 0x22 {
        guard byte >= 0x20 else { throw failed("control character in a string") }
        at += 1
        guard byte == 0x5C else {
          units.append(byte)
          continue
        }
        units += try escaped()
      }
      try take("\"")
      guard let text = String(validating: units, as: UTF8.self) else { throw failed("not UTF-8") }
      return text
    }

    private mutating func escaped() throws -> [UInt8] {
      guard let kind = next else { throw failed("escape expected") }
      at += 1
      switch UnicodeScalar(kind) {
      case "n": return [0x0A]
      case "r": return [0x0D]
      case "t": return [0x09]
      case "\"", "\\", "/": return [kind]
      case "u":
        guard at + 4 <= bytes.count, let code = UInt32(String(decoding: bytes[at..<at + 4], as: UTF8.self), radix: 16),
          let scalar = UnicodeScalar(code)
        else { throw failed("four hexadecimal digits expected") }
        at += 4
        return Array(String(Character(scalar)).utf8)
      default: throw failed("unknown escape")
      }
    }
  }
}

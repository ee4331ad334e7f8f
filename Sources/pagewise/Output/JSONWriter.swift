// SPDX-License-Identifier: Apache-2.0

/// Writes JSON text piece by piece. Two spaces for each level, or each value on one line; the caller keeps begin and end in step.
struct JSONWriter {
  private(set) var text = ""
  private var isFirst: [Bool] = []
  private let isOnOneLine: Bool

  init(isOnOneLine: Bool = false) { self.isOnOneLine = isOnOneLine }

  mutating func beginObject(_ key: String? = nil) { begin(key, "{") }
  mutating func endObject() { end("}") }
  mutating func beginArray(_ key: String? = nil) { begin(key, "[") }
  mutating func endArray() { end("]") }

  mutating func add(_ key: String? = nil, _ value: String?) { put(key, value.map(Self.quoted) ?? "null") }
  mutating func add(_ key: String? = nil, _ value: Int64?) { put(key, value.map { "\($0)" } ?? "null") }
  mutating func add(_ key: String? = nil, _ value: Int) { put(key, "\(value)") }
  mutating func add(_ key: String? = nil, _ value: UInt64) { put(key, "\(value)") }
  mutating func add(_ key: String? = nil, _ value: Bool) { put(key, value ? "true" : "false") }
  /// JSON has no infinity; it becomes null.
  mutating func add(_ key: String? = nil, _ value: Double?) {
    put(key, value.flatMap { $0.isFinite ? "\($0)" : nil } ?? "null")
  }

  /// Takes what was written so far.
  mutating func take() -> String {
    defer { text = "" }
    return text
  }

  private mutating func begin(_ key: String?, _ bracket: String) {
    put(key, bracket)
    isFirst.append(true)
  }

  private mutating func end(_ bracket: String) {
    let wasEmpty = isFirst.removeLast()
    if !wasEmpty { newLine() }
    text += bracket
    if isFirst.isEmpty { text += "\n" }
  }

  private mutating func put(_ key: String?, _ value: String) {
    if let last = isFirst.last {
      if !last { text += isOnOneLine ? ", " : "," }
      isFirst[isFirst.count - 1] = false
      newLine()
    }
    if let key { text += Self.quoted(key) + ": " }
    text += value
  }

  private mutating func newLine() {
    if isOnOneLine { return }
    text += "\n" + String(repeating: "  ", count: isFirst.count)
  }

  static func quoted(_ value: String) -> String {
    var out = "\""
    for scalar in value.unicodeScalars {
      switch scalar {
      case "\"": out += "\\\""
      case "\\": out += "\\\\"
      case "\n": out += "\\n"
      case "\r": out += "\\r"
      case "\t": out += "\\t"
      case let scalar
      where scalar.value < 0x20 || scalar.value == 0x7F || scalar.value == 0x2028 || scalar.value == 0x2029:
        let hex = String(scalar.value, radix: 16)
        out += "\\u" + String(repeating: "0", count: 4 - hex.count) + hex
      default: out.unicodeScalars.append(scalar)
      }
    }
    return out + "\""
  }
}

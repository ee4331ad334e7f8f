// SPDX-License-Identifier: Apache-2.0

/// Records on their way to standard output, collected up to a megabyte.
struct RecordOutput: ~Copyable {
  /// Standard output takes no more, or an interruption came while it made wait.
  struct Closed: Error {}
  /// A record of lines that has a line feed itself.
  struct HasLineFeed: Error {}

  /// How records are printed.
  enum Form {
    /// As they are, with a line feed behind each.
    case lines
    /// Each after its length, 4 bytes, the lowest first.
    case framed
    /// An object on a line for each.
    case json
  }

  private let form: Form
  private var buffer: [UInt8] = []
  private static let room = 1 << 20

  init(_ form: Form) { self.form = form }

  /// Takes a copy of the record. What does not fit is written at once.
  ///
  /// - Parameters:
  ///   - record: its bytes.
  ///   - type: the sender's; printed in JSON only.
  ///   - lane: which producer's it is, where that is known; printed in JSON only.
  ///   - isStrict: whether a line feed in a line is an error.
  /// - Throws: `Closed`, `HasLineFeed`.
  mutating func add(_ record: RawSpan, type: UInt16, lane: Int? = nil, isStrict: Bool) throws {
    switch form {
    case .lines:
      if isStrict, record.hasLineFeed { throw HasLineFeed() }
      try append(record)
      buffer.append(10)
    case .framed:
      for shift in 0..<Framing.lengthSize { buffer.append(UInt8(truncatingIfNeeded: record.byteCount >> (shift * 8))) }
      try append(record)
    case .json:
      var json = JSONWriter(isOnOneLine: true)
      json.beginObject()
      if let lane { json.add("lane", lane) }
      json.add("type", Int(type))
      json.add("size_bytes", record.byteCount)
      if let text = record.text { json.add("text", text) } else { json.add("base64", record.base64) }
      json.endObject()
      try add(json)
    }
  }

  /// Takes an object on a line of its own. With JSON only.
  mutating func add(_ json: JSONWriter) throws { unsafe try append(Array(json.text.utf8).span.bytes) }

  private mutating func append(_ bytes: RawSpan) throws {
    if buffer.count + bytes.byteCount > Self.room {
      try flush()
      guard Standard.output(bytes) else { throw Closed() }
    } else {
      unsafe bytes.withUnsafeBytes { unsafe buffer.append(contentsOf: $0) }
    }
  }

  /// Writes all that was taken.
  mutating func flush() throws {
    guard !buffer.isEmpty else { return }
    guard unsafe Standard.output(buffer.span.bytes) else { throw Closed() }
    buffer.removeAll(keepingCapacity: true)
  }

  /// Forgets what was taken and not written.
  mutating func forget() { buffer.removeAll(keepingCapacity: true) }
}

extension RawSpan {
  fileprivate var hasLineFeed: Bool {
    unsafe withUnsafeBytes { bytes in unsafe bytes.contains(10) }
  }

  /// Nil for what is no UTF-8.
  fileprivate var text: String? {
    unsafe withUnsafeBytes { bytes in unsafe String(validating: bytes, as: UTF8.self) }
  }

  /// As RFC 4648 has it, section 4.
  fileprivate var base64: String {
    let digits = Array("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/".utf8)
    var text: [UInt8] = []
    text.reserveCapacity((byteCount + 2) / 3 * 4)
    for start in stride(from: 0, to: byteCount, by: 3) {
      let count = min(3, byteCount - start)
      var bits = 0
      for offset in start..<start + count {
        bits = bits << 8 | Int(unsafe unsafeLoad(fromByteOffset: offset, as: UInt8.self))
      }
      bits <<= (3 - count) * 8
      for place in 0..<4 { text.append(place <= count ? digits[bits >> (18 - place * 6) & 63] : 61) }
    }
    return String(decoding: text, as: UTF8.self)
  }
}

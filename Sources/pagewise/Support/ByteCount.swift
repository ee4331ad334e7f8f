// SPDX-License-Identifier: Apache-2.0

internal import ArgumentParser

/// Numbers of bytes as people write them.
enum ByteCount {
  /// `4096`, `64K`, `64KiB`, `1M`, `2G`: binary units, in either case. Nil for anything else, and for what does not fit.
  static func parse(_ text: some StringProtocol) -> Int64? {
    let digits = text.prefix { $0.isASCII && $0.isNumber }
    guard !digits.isEmpty, let number = Int64(digits) else { return nil }
    var unit = text.dropFirst(digits.count).lowercased()
    if unit.hasSuffix("ib") { unit.removeLast(2) }
    let shifts = ["": 0, "b": 0, "k": 10, "m": 20, "g": 30, "t": 40, "p": 50]
    guard let shift = shifts[unit] else { return nil }
    let (product, overflow) = number.multipliedReportingOverflow(by: 1 << Int64(shift))
    return overflow ? nil : product
  }
}

/// `A..B`: bytes from A on, up to and without B. Either may be left out.
struct ByteRange {
  let offset: Int64
  let length: Int64?

  init(argument: String) throws {
    let mistake = ValidationError("--range takes A..B in bytes, for instance 0..4096, 1M.. or ..64K, with A <= B.")
    guard let dots = argument.firstRange(of: "..") else { throw mistake }
    let (lower, upper) = (argument[..<dots.lowerBound], argument[dots.upperBound...])
    let first = lower.isEmpty ? 0 : ByteCount.parse(lower)
    let last = upper.isEmpty ? Int64.max : ByteCount.parse(upper)
    guard let first, let last, first <= last else { throw mistake }
    offset = first
    length = upper.isEmpty ? nil : last - first
  }
}

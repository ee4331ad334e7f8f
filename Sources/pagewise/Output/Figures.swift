// SPDX-License-Identifier: Apache-2.0

/// Numbers as people read them.
enum Figures {
  /// Three digits and a binary unit: `512 B`, `1.50 MiB`, `64.0 MiB`, `123 GiB`.
  static func bytes(_ count: Int64) -> String {
    if count < 1024 { return "\(count) B" }
    var value = Double(count)
    var unit = 0
    let units = ["B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"]
    while value >= 999.5, unit < units.count - 1 {
      value /= 1024
      unit += 1
    }
    return "\(threeDigits(value)) \(units[unit])"
  }

  /// Three digits and a unit: `312 ns`, `4.21 µs`, `13.7 ms`, `2.05 s`, `3 min 20 s`.
  static func nanoseconds(_ time: Double, _ style: Style) -> String {
    if time < 999.5 { return "\(Int(time.rounded())) ns" }
    if time < 999.5e3 { return "\(threeDigits(time / 1e3)) \(style.micro)" }
    if time < 999.5e6 { return "\(threeDigits(time / 1e6)) ms" }
    if time < 99.95e9 { return "\(threeDigits(time / 1e9)) s" }
    let seconds = Int((time / 1e9).rounded())
    return seconds < 5940 ? "\(seconds / 60) min" : "\(threeDigits(Double(seconds) / 3600)) h"
  }

  /// `1.00`, `23.4`, `512`, `1,234`.
  static func threeDigits(_ value: Double) -> String {
    if value >= 99.95 { return grouped(Int64(min(value, 9e18).rounded())) }
    return decimals(value, value >= 9.995 ? 1 : 2)
  }

  static func decimals(_ value: Double, _ places: Int) -> String {
    var scale = 1.0
    for _ in 0..<places { scale *= 10 }
    let whole = Int64((value * scale).rounded())
    let fraction = String(whole % Int64(scale))
    return "\(whole / Int64(scale))." + String(repeating: "0", count: places - fraction.count) + fraction
  }

  /// `1,234,567`.
  static func grouped(_ value: Int64) -> String {
    let digits = String(value.magnitude)
    var out = ""
    for (index, digit) in digits.enumerated() {
      if index > 0, (digits.count - index) % 3 == 0 { out += "," }
      out.append(digit)
    }
    return value < 0 ? "-" + out : out
  }

  static func grouped(_ value: Int) -> String { grouped(Int64(value)) }

  /// `100 %`, `37.5 %`; never 0 or 100 for what is only nearly so.
  static func percent(_ share: Double) -> String {
    let value = share * 100
    if value <= 0 { return "0 %" }
    if value >= 100 { return "100 %" }
    if value < 0.1 { return "< 0.1 %" }
    if value > 99.9 { return "> 99.9 %" }
    return value >= 10 && value <= 99 ? "\(Int(value.rounded())) %" : "\(decimals(value, 1)) %"
  }

  static func count(_ number: Int, _ one: String, _ many: String) -> String {
    "\(grouped(number)) \(number == 1 ? one : many)"
  }
}

extension String {
  func padded(to width: Int) -> String { self + String(repeating: " ", count: max(0, width - count)) }
  func aligned(to width: Int) -> String { String(repeating: " ", count: max(0, width - count)) + self }

  /// Lines of at most `width` characters, broken at spaces; all but the first begin with `indent` spaces.
  func wrapped(width: Int, indent: Int) -> String {
    var lines: [String] = []
    var line = ""
    for word in split(separator: " ", omittingEmptySubsequences: false) {
      let room = width - (lines.isEmpty ? 0 : indent)
      if !line.isEmpty, line.count + 1 + word.count > room {
        lines.append(line)
        line = String(word)
      } else {
        line += (line.isEmpty ? "" : " ") + word
      }
    }
    lines.append(line)
    return lines.joined(separator: "\n" + String(repeating: " ", count: indent))
  }
}

// SPDX-License-Identifier: Apache-2.0

internal import SystemPackage

/// What the terminal can show. Plain text for files and pipes, without UTF-8, and with NO_COLOR.
struct Style {
  /// Colours and bars.
  let isRich: Bool
  /// Characters beyond ASCII.
  let isUnicode: Bool
  /// Columns for text: the terminal's, 100 at most.
  let width: Int

  /// Columns of a table with everything in it.
  static let full = 100

  init(isPlain: Bool) {
    let isTerminal = Standard.isTerminal(.standardOutput)
    let locale =
      Standard.environment("LC_ALL") ?? Standard.environment("LC_CTYPE") ?? Standard.environment("LANG") ?? ""
    let upper = locale.uppercased()
    let isUTF8 = upper.contains("UTF-8") || upper.contains("UTF8")
    let wantsPlain =
      isPlain || !isTerminal || Standard.environment("NO_COLOR") != nil || Standard.environment("TERM") == "dumb"
    isUnicode = isUTF8 && !wantsPlain
    isRich = !wantsPlain
    width = min(max(isTerminal ? Standard.columns ?? Self.full : Self.full, 40), Self.full)
  }

  /// Without colours, and in ASCII.
  static let ascii = Style(isPlain: true)

  /// Tables leave out columns so that they fit 80.
  var isNarrow: Bool { width < Self.full }

  var mark: String { isUnicode ? "●" : "*" }
  var micro: String { isUnicode ? "µs" : "us" }
  var times: String { isUnicode ? "×" : "x" }
  var none: String { isUnicode ? "–" : "-" }

  func bold(_ text: String) -> String { isRich ? "\u{1B}[1m\(text)\u{1B}[0m" : text }
  func dim(_ text: String) -> String { isRich ? "\u{1B}[2m\(text)\u{1B}[0m" : text }
  func green(_ text: String) -> String { isRich ? "\u{1B}[32m\(text)\u{1B}[0m" : text }
  func yellow(_ text: String) -> String { isRich ? "\u{1B}[33m\(text)\u{1B}[0m" : text }

  /// A bar for a share of 0 to 1; nothing where bars are not shown.
  func bar(_ share: Double, width: Int = 10) -> String {
    guard isRich, isUnicode else { return "" }
    let eighths = Int((min(max(share, 0), 1) * Double(width * 8)).rounded())
    let parts = ["", "▏", "▎", "▍", "▌", "▋", "▊", "▉"]
    let full = String(repeating: "█", count: eighths / 8)
    let shown = full + parts[eighths % 8]
    return shown + String(repeating: "░", count: max(0, width - shown.count))
  }

  /// How much slower than the best, as one small block: none for the best, full from 16 times on.
  func block(_ factor: Double) -> String {
    guard isRich, isUnicode else { return "" }
    let blocks = [" ", "▁", "▂", "▃", "▄", "▅", "▆", "▇", "█"]
    var level = 0
    var limit = 1.1
    while level < 8, factor > limit {
      level += 1
      limit *= 1.45
    }
    return blocks[level]
  }

  /// The library's own sentences have `…` in them; terminals without UTF-8 get dots.
  func text(_ sentence: String) -> String {
    guard !isUnicode else { return sentence }
    var out = ""
    for character in sentence {
      switch character {
      case "…": out += "..."
      case "µ": out += "u"
      case "×": out += "x"
      case "–", "—": out += "-"
      default: out.append(character)
      }
    }
    return out
  }
}

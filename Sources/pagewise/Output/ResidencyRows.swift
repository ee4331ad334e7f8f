// SPDX-License-Identifier: Apache-2.0

internal import ArgumentParser
internal import PageCache
internal import SystemPackage

/// A column of `pagewise residency -o`. Names as those of util-linux's fincore, and more.
enum ResidencyColumn: String, CaseIterable {
  case res = "RES"
  case pages = "PAGES"
  case size = "SIZE"
  case file = "FILE"
  case dirtyPages = "DIRTY_PAGES"
  case dirty = "DIRTY"
  case writebackPages = "WRITEBACK_PAGES"
  case writeback = "WRITEBACK"
  case evictedPages = "EVICTED_PAGES"
  case evicted = "EVICTED"
  case recentlyEvictedPages = "RECENTLY_EVICTED_PAGES"
  case recentlyEvicted = "RECENTLY_EVICTED"
  case totalPages = "TOTAL_PAGES"
  case allocated = "ALLOCATED"
  case share = "SHARE"
  case perFault = "PER_FAULT"
  case ranges = "RANGES"

  /// Parts of a bar in a row.
  static let rangeParts = 24

  static let standard: [ResidencyColumn] = [.res, .pages, .size, .file]

  /// From an argument; a `+` in front adds to the standard ones.
  static func list(_ argument: String) throws -> [ResidencyColumn] {
    if argument == "all" || argument == "ALL" { return allCases.filter { $0 != .file } + [.file] }
    let isMore = argument.hasPrefix("+")
    let names = argument.dropFirst(isMore ? 1 : 0).split(separator: ",", omittingEmptySubsequences: false)
    let found = try names.map { name in
      guard let column = Self(rawValue: name.uppercased()) else {
        throw ValidationError(
          "-o takes columns separated by commas, of \(Self.allCases.map(\.rawValue).joined(separator: ", ")), or all; "
            + "'\(name)' is none.")
      }
      return column
    }
    return isMore ? standard + found : found
  }

  /// Of equal parts, fewer equal parts.
  static func merged(_ shares: [Double], into count: Int) -> [Double] {
    guard shares.count > count else { return shares }
    return (0..<count).map { part in
      let piece = shares[shares.count * part / count..<shares.count * (part + 1) / count]
      return piece.reduce(0, +) / Double(piece.count)
    }
  }

  /// Room for what it shows, the heading at least.
  fileprivate var width: Int {
    switch self {
    case .file: 0
    case .ranges: Self.rangeParts
    case .pages, .totalPages, .dirtyPages: max(rawValue.count, 10)
    case .share: 7
    default: max(rawValue.count, 8)
    }
  }
}

/// Rows of files, printed as they come.
final class ResidencyRows {
  private let columns: [ResidencyColumn]
  private let isRaw: Bool
  private let isExact: Bool
  private let hasHeadings: Bool
  private let hasTotal: Bool
  private let isInOrder: Bool
  private let style: Style
  private var text = ""

  init(_ command: ResidencyCommand) {
    columns = command.columns ?? ResidencyColumn.standard
    isRaw = command.raw
    isExact = command.raw || command.bytes
    hasHeadings = !command.noheadings
    hasTotal = command.total
    isInOrder = command.sort != nil || command.top != nil || command.options.parts > 0 || command.options.samplesFaults
    style = Style(isPlain: command.output.plain)
  }

  func begin() {
    guard hasHeadings else { return }
    put(columns.map(\.rawValue))
    flush()
  }

  /// What to do with each file as it is met: nil where the rows come in order, at the end of a path.
  func streams(_ path: FilePath, _ command: ResidencyCommand) -> ((FileResidency) -> Void)? {
    isInOrder ? nil : { self.row($0) }
  }

  func add(_ report: ResidencyReport) {
    if isInOrder { for file in report.files { row(file) } }
    flush()
  }

  func end(_ sum: ResidencySum) {
    if hasTotal { put(columns.map { cell($0, sum.pages, size: sum.size, file: nil) }) }
    flush()
  }

  private func row(_ file: FileResidency) {
    put(columns.map { cell($0, file.pages, size: file.size, file: file) })
    if text.utf8.count > 32 << 10 { flush() }
  }

  private func flush() {
    Standard.output(text)
    text = ""
  }

  private func put(_ cells: [String]) {
    if isRaw {
      text += cells.joined(separator: " ")
    } else {
      var line = ""
      for (column, cell) in zip(columns, cells) {
        if !line.isEmpty { line += " " }
        line += column == .ranges || column == .file ? cell.padded(to: column.width) : cell.aligned(to: column.width)
      }
      while line.last == " " { line.removeLast() }
      text += line
    }
    text += "\n"
  }

  private func cell(_ column: ResidencyColumn, _ pages: CachedPages, size: Int64, file: FileResidency?) -> String {
    let words = CacheWords(pages: pages)
    func number(_ count: Int64, details: Bool = true, inBytes: Bool) -> String {
      if words.word != nil { return pages.hiddenFiles > 0 ? "not-permitted" : "-" }
      if details, !pages.hasDetails { return "-" }
      return inBytes ? amount(words.bytes(count)) : "\(count)"
    }
    return switch column {
    case .file: file.map { name($0.path) } ?? Self.total(pages)
    case .size: amount(size)
    case .allocated: file.map { amount($0.allocated) } ?? "-"
    case .res: number(pages.resident, details: false, inBytes: true)
    case .pages: number(pages.resident, details: false, inBytes: false)
    case .totalPages: number(pages.pages, details: false, inBytes: false)
    case .dirty: number(pages.dirty, inBytes: true)
    case .dirtyPages: number(pages.dirty, inBytes: false)
    case .writeback: number(pages.inWriteBack, inBytes: true)
    case .writebackPages: number(pages.inWriteBack, inBytes: false)
    case .evicted: number(pages.evicted, inBytes: true)
    case .evictedPages: number(pages.evicted, inBytes: false)
    case .recentlyEvicted: number(pages.recentlyEvicted, inBytes: true)
    case .recentlyEvictedPages: number(pages.recentlyEvicted, inBytes: false)
    case .share:
      words.word != nil
        ? number(0, inBytes: false)
        : pages.share.map { share in
          isExact ? Figures.decimals(share, 4) : Figures.percent(share).replacing(" ", with: "")
        } ?? "-"
    case .perFault: file?.pagesPerFault.map { "\($0)" } ?? "-"
    case .ranges:
      file.map { $0.shares.isEmpty ? "-" : "[\((isRaw ? .ascii : style).map($0.shares).replacing(" ", with: "_"))]" }
        ?? "-"
    }
  }

  /// The name of the last row: says what is not in it.
  private static func total(_ pages: CachedPages) -> String {
    pages.isComplete ? "total" : "total-without-\(pages.hiddenFiles + pages.unknownFiles)-not-known"
  }

  private func amount(_ bytes: Int64) -> String { isExact ? "\(bytes)" : Figures.bytes(bytes).replacing(" ", with: "") }

  private func name(_ path: FilePath) -> String {
    guard isRaw else { return PathText.shown(path) }
    let bytes = PathText.bytes(of: path)
    // Most names need nothing.
    if bytes.allSatisfy({ $0 > 0x20 && $0 < 0x7F && $0 != 0x5C }) { return String(decoding: bytes, as: UTF8.self) }
    var out = ""
    for byte in bytes {
      if byte > 0x20, byte < 0x7F, byte != 0x5C {
        out.unicodeScalars.append(Unicode.Scalar(byte))
      } else {
        out += "\\x" + PathText.hex([byte])
      }
    }
    return out
  }
}

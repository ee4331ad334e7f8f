// SPDX-License-Identifier: Apache-2.0

internal import CPlatform
internal import SystemPackage

#if canImport(Glibc)
  internal import Glibc
#elseif canImport(Musl)
  internal import Musl
#elseif canImport(Darwin)
  internal import Darwin
#endif

/// Which files below a folder are meant, by their names.
///
/// `*.idx` names files, `!*.tmp` leaves out files and whole folders. A pattern with a slash is compared with the path below the
/// folder that was given, without a slash with the last name only. `*` and `?` stand for any characters, slashes among them;
/// `[a-z]` for one of a set. Capital letters count. C: `fnmatch(3)`.
public struct FilePatterns: Sendable, Hashable {
  private struct Pattern: Sendable, Hashable {
    let text: [CChar]
    let hasSlash: Bool
  }
  private var wanted: [Pattern] = []
  private var unwanted: [Pattern] = []

  /// - Parameter patterns: none for all files. Empty ones, and a lone `!`, are left out.
  public init(_ patterns: [String] = []) {
    for pattern in patterns {
      let isUnwanted = pattern.hasPrefix("!")
      let text = isUnwanted ? String(pattern.dropFirst()) : pattern
      guard !text.isEmpty else { continue }
      let made = Pattern(text: text.utf8.map { CChar(bitPattern: $0) } + [0], hasSlash: text.utf8.contains(0x2F))
      if isUnwanted { unwanted.append(made) } else { wanted.append(made) }
    }
  }

  /// True when every file is meant.
  public var isEmpty: Bool { wanted.isEmpty && unwanted.isEmpty }

  /// Whether any pattern looks at more than the last name.
  package var needsPath: Bool { wanted.contains(where: \.hasSlash) || unwanted.contains(where: \.hasSlash) }

  /// Whether a file is meant.
  ///
  /// - Parameters:
  ///   - name: its last name, ended by a NUL.
  ///   - path: from the folder that was given. Asked for only where a pattern has a slash.
  package func includes(_ name: UnsafePointer<CChar>, path: () -> [CChar]) -> Bool {
    guard !isEmpty else { return true }
    let path = needsPath ? path() : []
    if unwanted.contains(where: { unsafe Self.matches($0, name, path) }) { return false }
    return wanted.isEmpty || wanted.contains { unsafe Self.matches($0, name, path) }
  }

  /// Whether a folder is left out with all that is in it.
  package func excludesFolder(_ name: UnsafePointer<CChar>, path: () -> [CChar]) -> Bool {
    guard !unwanted.isEmpty else { return false }
    let path = needsPath ? path() : []
    return unwanted.contains { unsafe Self.matches($0, name, path) }
  }

  private static func matches(_ pattern: Pattern, _ name: UnsafePointer<CChar>, _ path: [CChar]) -> Bool {
    unsafe pattern.text.withUnsafeBufferPointer { text in
      let start = text.baseAddress!
      guard pattern.hasSlash else { return unsafe fnmatch(start, name, 0) == 0 }
      return unsafe path.withUnsafeBufferPointer { unsafe fnmatch(start, $0.baseAddress!, 0) == 0 }
    }
  }
}

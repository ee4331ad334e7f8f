// SPDX-License-Identifier: Apache-2.0

import SystemPackage
import Testing
import _TestSupport

/// A program that the compiler must reject, and the nearest one that it must accept, in one file.
///
/// With `REJECTED` defined the file is the bad program, without it the good twin. A line `// expected-error: TEXT` names an
/// error that the next line of the bad program must get. Lines of the head:
///
/// - `// flags: …`: further arguments for the compiler; without them a client's defaults.
/// - `// known-issue: …`: the compiler should reject the program and does not, and why. The test fails once it does.
struct RejectedProgram: Sendable, CustomTestStringConvertible {
  let path: FilePath
  let flags: [String]
  let knownIssue: String?
  let expected: [ExpectedError]

  var testDescription: String { path.stem ?? path.string }

  init(_ path: FilePath) {
    self.init(path, text: ProcessView.text(path))
  }

  init(_ path: FilePath, text: String) {
    self.path = path
    let lines = text.split(separator: "\n", omittingEmptySubsequences: false)
    flags = lines.lazy.compactMap { $0.rest(after: "// flags: ") }.first?.split(separator: " ").map(String.init) ?? []
    knownIssue = lines.lazy.compactMap { $0.rest(after: "// known-issue: ") }.first
    var waiting: [String] = []
    var expected: [ExpectedError] = []
    for (index, line) in lines.enumerated() {
      if let text = line.rest(after: "// expected-error: ") {
        waiting.append(text)
      } else {
        expected += waiting.map { ExpectedError(line: index + 1, text: $0) }
        waiting = []
      }
    }
    self.expected = expected
  }

  /// What differs between the errors that the bad program got and those it must get; empty when nothing does.
  func complaints(about errors: [CompilerError]) -> [String] {
    // The checker of noncopyable values sometimes stumbles over a program that another pass has rejected already.
    let errors = errors.filter { !$0.text.contains("This is a compiler bug") }
    let missing = expected.filter { wanted in !errors.contains { wanted.isMet(by: $0) } }
    let surplus = errors.filter { error in !expected.contains { $0.isMet(by: error) } }
    return missing.map { "line \($0.line) must get the error '\($0.text)'" } + surplus.map { "unexpected: \($0)" }
  }

  /// All of them, in the order of their names. Read from the source folder: they are no part of the build.
  static let all = Folder.files(in: Folder.tests.appending("Programs"), extension: "swift").map { RejectedProgram($0) }
}

struct ExpectedError: Sendable {
  let line: Int
  /// A part of the message.
  let text: String

  func isMet(by error: CompilerError) -> Bool { error.line == line && error.text.contains(text) }
}

extension Substring {
  /// What follows `prefix`, when the line begins with it, indentation aside.
  fileprivate func rest(after prefix: String) -> String? {
    let text = drop { $0 == " " }
    return text.hasPrefix(prefix) ? String(text.dropFirst(prefix.count)) : nil
  }
}

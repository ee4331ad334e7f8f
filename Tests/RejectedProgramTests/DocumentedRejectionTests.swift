// SPDX-License-Identifier: Apache-2.0

import SystemPackage
import Testing
import _TestSupport

/// What the documents show as not compiling does not compile.
///
/// A block whose first line begins with `// does not compile` is the body of a throwing function, as for
/// Scripts/check-readme. Its types must be right, so that it is not rejected for a misspelled name, and its ownership wrong.
@Suite struct DocumentedRejectionTests {
  @Test("blocks marked as not compiling are rejected for ownership and nothing else", .needsCompiler)
  func blocksAreRejected() throws {
    let folder = try TemporaryDirectory()
    var files: [(path: FilePath, name: String)] = []
    for document in Self.documents {
      for (number, block) in Self.rejectedBlocks(of: ProcessView.text(document)).enumerated() {
        let path = try folder.file("Block\(files.count).swift", Self.program(block).utf8)
        files.append((path, "\(document.lastComponent?.string ?? ""), rejected block \(number + 1)"))
      }
    }
    #expect(!files.isEmpty, "no such block in \(Self.documents.count) documents")
    let types = try Compiler.run(.types, files.map(\.path), flags: [])
    let ownership = try Compiler.run(.ownership, files.map(\.path), flags: [])
    #expect(types.breakdown == nil)
    #expect(ownership.breakdown == nil)
    for file in files {
      #expect(types.errors(in: file.path).map(\.text) == [], "\(file.name): only its ownership may be wrong")
      #expect(!ownership.errors(in: file.path).isEmpty, "\(file.name) compiles")
    }
  }

  @Test("blocks are found by their first line")
  func blocksAreFound() {
    let text = """
      ```swift
      // does not compile: first
      a()
      ```
      ```swift
      b()
      ```
      ```sh
      // does not compile: no Swift
      ```
      ```swift
      // does not compile
      import C
      c()
      ```
      """
    let blocks = Self.rejectedBlocks(of: text)
    #expect(blocks == ["// does not compile: first\na()", "// does not compile\nimport C\nc()"])
    let wrapped = "import MemoryMapping\nimport C\nprivate func block() async throws {\n// does not compile\nc()\n}\n"
    #expect(Self.program(blocks[1]) == wrapped)
  }

  /// The README and the articles of all catalogues.
  private static var documents: [FilePath] {
    let catalogues = Folder.entries(of: Folder.package.appending("Sources"))
      .flatMap { Folder.files(in: $0, extension: "docc") }
    return [Folder.package.appending("README.md")] + catalogues.flatMap { Folder.files(in: $0, extension: "md") }
  }

  private static func rejectedBlocks(of text: String) -> [String] {
    var blocks: [String] = []
    var block: [Substring]? = nil
    for line in text.split(separator: "\n", omittingEmptySubsequences: false) {
      if line == "```swift" {
        block = []
      } else if line.hasPrefix("```") {
        if let found = block, found.first?.hasPrefix("// does not compile") == true {
          blocks.append(found.joined(separator: "\n"))
        }
        block = nil
      } else {
        block?.append(line)
      }
    }
    return blocks
  }

  private static func program(_ block: String) -> String {
    let lines = block.split(separator: "\n", omittingEmptySubsequences: false)
    let imports = lines.filter { $0.hasPrefix("import ") && $0 != "import MemoryMapping" }
    let body = lines.filter { !$0.hasPrefix("import ") }
    let head = ["import MemoryMapping"] + imports + ["private func block() async throws {"]
    return (head + body + ["}", ""]).joined(separator: "\n")
  }
}

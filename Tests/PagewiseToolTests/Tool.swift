// SPDX-License-Identifier: Apache-2.0

import SystemPackage
import Testing
import _TestSupport

#if canImport(Darwin)
  import Darwin
#elseif canImport(Musl)
  import Musl
#else
  import Glibc
#endif

/// The built `pagewise`, run as a child by a shell that sets the standard streams.
struct Tool: ~Copyable {
  let folder: TemporaryDirectory

  init() throws { folder = try TemporaryDirectory() }

  struct Result {
    let status: Int
    let output: String
    let errors: String
    var lines: [Substring] { output.split(separator: "\n") }
    func json() throws -> JSON { try JSON(output) }
  }

  /// The tool, which the build puts beside the test program.
  static func path() throws -> String {
    if let named = getenv("PAGEWISE_TOOL") { return String(cString: named) }
    var target = [UInt8](repeating: 0, count: 4096)
    let length = target.withUnsafeMutableBytes { bytes in
      readlink("/proc/self/exe", bytes.baseAddress!.assumingMemoryBound(to: CChar.self), bytes.count)
    }
    let test = length > 0 ? String(decoding: target.prefix(length), as: UTF8.self) : CommandLine.arguments[0]
    let tool = FilePath(test).removingLastComponent().appending("pagewise").string
    try #require(access(tool, X_OK) == 0, "no pagewise at \(tool); swift build, or set PAGEWISE_TOOL")
    return tool
  }

  /// Runs a line of shell, in which `"$@"` is the tool with its arguments; its standard streams are files.
  ///
  /// - Parameter input: what stands on standard input.
  func run(
    _ arguments: [String], shell: String = "exec \"$@\"", input: [UInt8] = [], environment: [String: String] = [:],
    seconds: Int = 60
  ) throws -> Result {
    let files = try TemporaryDirectory()
    try files.file("in", input)
    let script = "exec <\"$STREAMS/in\" >\"$STREAMS/out\" 2>\"$STREAMS/err\"\n" + shell
    var variables = environment
    variables["STREAMS"] = files.path.string
    let child = try Child.run(
      ["sh", "-c", script, "sh", try Self.path()] + arguments, environment: variables, seconds: seconds)
    #expect(child.status != -1, "\(arguments) did not end in \(seconds) s")
    return Result(
      status: child.status, output: ProcessView.text(files.appending("out")),
      errors: ProcessView.text(files.appending("err")))
  }

  /// `pagewise advise` with a short time.
  func advise(_ arguments: String..., shell: String = "exec \"$@\"", input: [UInt8] = []) throws -> Result {
    try run(["advise", "--seconds", "0.02"] + arguments, shell: shell, input: input)
  }
}

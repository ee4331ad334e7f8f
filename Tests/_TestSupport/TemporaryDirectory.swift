// SPDX-License-Identifier: Apache-2.0

internal import Glibc
public import SystemPackage
internal import _CTestSupport

/// A folder of its own for one test, gone with everything in it when the value ends, also after a failure.
public struct TemporaryDirectory: ~Copyable {
  public let path: FilePath

  /// - Parameter base: where to make it; nil takes TMPDIR, else /tmp.
  public init(in base: FilePath? = nil) throws {
    let parent = base ?? FilePath(getenv("TMPDIR").map { String(cString: $0) } ?? "/tmp")
    var template = Array(parent.appending("pagewise-test-XXXXXX").string.utf8CString)
    guard mkdtemp(&template) != nil else { throw Errno(rawValue: errno) }
    path = FilePath(String(decoding: template.dropLast().map { UInt8(bitPattern: $0) }, as: UTF8.self))
  }

  deinit { _ = path.withPlatformString { pgt_remove_tree($0) } }

  public func appending(_ name: String) -> FilePath { path.appending(name) }

  /// Makes a file with `content` and gives its path.
  @discardableResult
  public func file(_ name: String, _ content: some Sequence<UInt8> = []) throws -> FilePath {
    let path = appending(name)
    let file = try FileDescriptor.open(
      path, .readWrite, options: [.create, .truncate, .closeOnExec], permissions: .ownerReadWrite)
    try file.closeAfter { _ = try file.writeAll(content) }
    return path
  }
}

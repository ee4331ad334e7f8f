// SPDX-License-Identifier: Apache-2.0

internal import Synchronization
internal import SystemPackage

/// Arguments as the shell gave them. Swift turns them into strings and repairs what is not UTF-8; a repaired path is the
/// path of another file.
enum RawArguments {
  /// Arguments that were repaired, in their order: the repaired text and the true bytes.
  private static let repaired = Mutex<[(text: String, path: FilePath)]>(all())

  private static func all() -> [(text: String, path: FilePath)] {
    var found: [(text: String, path: FilePath)] = []
    for index in 1..<max(1, Int(CommandLine.argc)) {
      guard let argument = unsafe CommandLine.unsafeArgv[index] else { break }
      let path = unsafe FilePath(platformString: argument)
      let bytes = PathText.bytes(of: path)
      if !PathText.isText(bytes) { found.append((String(decoding: bytes, as: UTF8.self), path)) }
    }
    return found
  }

  /// The path that a parsed argument stands for.
  static func path(_ text: String) -> FilePath {
    repaired.withLock { list in
      // Two arguments can look alike once they are repaired: they are taken in turn.
      guard let index = list.firstIndex(where: { $0.text == text }) else { return FilePath(text) }
      return list.remove(at: index).path
    }
  }
}

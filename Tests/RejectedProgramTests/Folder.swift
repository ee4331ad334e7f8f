// SPDX-License-Identifier: Apache-2.0

import Glibc
import SystemPackage

/// Folders of the source package and what is in them.
enum Folder {
  /// This test target's own.
  static let tests = FilePath(#filePath).removingLastComponent()
  /// The package's.
  static let package = tests.removingLastComponent().removingLastComponent()

  /// The entries of a folder in the order of their names, without hidden ones; none when it cannot be read.
  static func entries(of path: FilePath) -> [FilePath] {
    guard let folder = path.withPlatformString({ opendir($0) }) else { return [] }
    defer { closedir(folder) }
    var names: [String] = []
    while let entry = readdir(folder) {
      names.append(
        withUnsafePointer(to: &entry.pointee.d_name) {
          $0.withMemoryRebound(to: CChar.self, capacity: 256) { String(cString: $0) }
        })
    }
    return names.filter { !$0.hasPrefix(".") }.sorted().map { path.appending($0) }
  }

  /// The files of a folder with this extension.
  static func files(in path: FilePath, extension name: String) -> [FilePath] {
    entries(of: path).filter { $0.extension == name }
  }
}

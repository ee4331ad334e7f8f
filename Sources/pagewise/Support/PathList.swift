// SPDX-License-Identifier: Apache-2.0

internal import SystemPackage

/// A list of paths, each ended by a NUL: the one byte that no path has.
enum PathList {
  /// Reads the list from a file, or from standard input for `-`.
  ///
  /// - Throws: `Errno` when it cannot be read.
  static func read(from source: FilePath) throws -> [FilePath] {
    var bytes: [UInt8] = []
    if source == standardInput {
      try append(.standardInput, to: &bytes)
    } else {
      let file = try FileDescriptor.open(source, .readOnly)
      try file.closeAfter { try append(file, to: &bytes) }
    }
    return split(bytes)
  }

  /// The path that stands for a list on standard input. A file of this name is `./-`.
  static let standardInput = FilePath("-")

  /// Empty names are left out, and the last needs no NUL.
  static func split(_ bytes: [UInt8]) -> [FilePath] {
    bytes.split(separator: 0).map { name in
      let terminated = name.map { CChar(bitPattern: $0) } + [0]
      return unsafe terminated.withUnsafeBufferPointer { unsafe FilePath(platformString: $0.baseAddress!) }
    }
  }

  private static func append(_ file: FileDescriptor, to bytes: inout [UInt8]) throws {
    var piece = [UInt8](repeating: 0, count: 64 << 10)
    while true {
      let got = unsafe try piece.withUnsafeMutableBytes { unsafe try file.read(into: $0) }
      if got == 0 { return }
      bytes += piece[..<got]
    }
  }
}

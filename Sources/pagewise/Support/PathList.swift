// SPDX-License-Identifier: Apache-2.0

internal import ArgumentParser
internal import SystemPackage

/// A list of paths, each ended by a NUL: the one byte that no path has.
enum PathList {
  /// Reads the list from a file, or from standard input for `-`.
  ///
  /// - Throws: `ValidationError` (exit status 64) when it cannot be read.
  static func read(from source: String) throws -> [FilePath] {
    var bytes: [UInt8] = []
    do {
      if source == "-" {
        try append(.standardInput, to: &bytes)
      } else {
        let file = try FileDescriptor.open(FilePath(source), .readOnly)
        try file.closeAfter { try append(file, to: &bytes) }
      }
    } catch let reason as Errno {
      throw ValidationError("Cannot read the list of paths from '\(source)': \(reason).")
    }
    return split(bytes)
  }

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

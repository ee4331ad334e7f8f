// SPDX-License-Identifier: Apache-2.0

public import SystemPackage
internal import _CTestSupport

/// A file whose byte is a function of its offset and never zero, so that a made-up byte is seen.
public struct PatternFile: ~Copyable {
  public let path: FilePath
  public let descriptor: FileDescriptor

  /// - Parameters:
  ///   - windows: parts to write in a file that is otherwise a hole; nil for all.
  public init(_ path: FilePath, size: Int64, windows: [Range<Int64>]? = nil) throws {
    let file = try FileDescriptor.open(
      path, .readWrite, options: [.create, .truncate, .closeOnExec], permissions: .ownerReadWrite)
    try Self.fill(file, size: size, windows: windows)
    self.path = path
    descriptor = file
  }

  deinit { try? descriptor.close() }

  public func fill(size: Int64, windows: [Range<Int64>]? = nil) throws {
    try Self.fill(descriptor, size: size, windows: windows)
  }

  private static func fill(_ descriptor: FileDescriptor, size: Int64, windows: [Range<Int64>]?) throws {
    try descriptor.resize(to: size)
    for window in windows ?? [0..<size] {
      var at = window.lowerBound
      while at < min(window.upperBound, size) {
        let bytes = bytes(at..<min(at + 1 << 20, window.upperBound, size))
        at += Int64(try descriptor.writeAll(toAbsoluteOffset: at, bytes))
      }
    }
  }

  public func resize(_ size: Int64) throws { try descriptor.resize(to: size) }

  /// What the file's bytes are by rule.
  public static func bytes(_ range: Range<Int64>) -> [UInt8] {
    .init(unsafeUninitializedCapacity: range.count) { buffer, count in
      pgt_pattern(buffer.baseAddress, range.count, UInt64(range.lowerBound))
      count = range.count
    }
  }

  /// What the file holds now in `range`, as far as it reaches.
  public static func read(_ path: FilePath, _ range: Range<Int64>) throws -> [UInt8] {
    let file = try FileDescriptor.open(path, .readOnly, options: [.closeOnExec])
    defer { try? file.close() }
    var bytes = [UInt8](repeating: 0, count: range.count)
    var done = 0
    while done < bytes.count {
      let got = try bytes.withUnsafeMutableBytes {
        try file.read(fromAbsoluteOffset: range.lowerBound + Int64(done), into: .init(rebasing: $0[done...]))
      }
      if got == 0 { break }
      done += got
    }
    return Array(bytes.prefix(done))
  }
}

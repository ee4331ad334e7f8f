// SPDX-License-Identifier: Apache-2.0

internal import Glibc
public import SystemPackage
internal import _CTestSupport

/// Pages of a memory file that somebody mapped and cut: each touch behind the cut raises SIGBUS. The library knows nothing
/// of it. Leaves nothing behind when the process is ended inside.
public struct CutMapping: ~Copyable {
  /// The first byte.
  public let base: UnsafeMutableRawPointer
  /// Bytes mapped.
  public let byteCount: Int
  public let descriptor: FileDescriptor

  /// The system's page size.
  public static let pageSize = Int(sysconf(CInt(_SC_PAGESIZE)))

  /// Maps `pages` pages of the test pattern and cuts the file to `kept` of them.
  public init(pages: Int, kept: Int, writable: Bool = false) throws {
    (descriptor, base) = try Self.make(pages: pages, kept: kept, writable: writable)
    byteCount = pages * Self.pageSize
  }

  private static func make(
    pages: Int, kept: Int, writable: Bool
  ) throws -> (FileDescriptor, UnsafeMutableRawPointer) {
    let number = pgt_memfd("cut", true, false)
    guard number >= 0 else { throw Errno(rawValue: errno) }
    let file = FileDescriptor(rawValue: number)
    _ = try file.writeAll(PatternFile.bytes(0..<Int64(kept * pageSize)))
    try file.resize(to: Int64(pages * pageSize))
    guard let mapped = pgt_map_file(number, pages * pageSize, 0, writable) else { throw Errno(rawValue: errno) }
    try file.resize(to: Int64(kept * pageSize))
    return (file, mapped)
  }

  deinit {
    _ = pgt_unmap(base, byteCount)
    try? descriptor.close()
  }

  public borrowing func cut(toPages pages: Int) throws { try descriptor.resize(to: Int64(pages * Self.pageSize)) }

  /// Reads a byte.
  public borrowing func touch(_ offset: Int) -> UInt8 { pgt_touch(base + offset) }

  public borrowing func store(_ value: UInt8, at offset: Int) { pgt_store(base + offset, value) }

  public var bytes: UnsafeRawBufferPointer { .init(start: base, count: byteCount) }
}

// SPDX-License-Identifier: Apache-2.0

internal import CPlatform
public import SystemPackage

extension NumPyHeader {
  /// What a look at a `.npy` file found.
  public struct Verification: Sendable, Hashable {
    /// Bytes of the file.
    public let size: Int64
    /// The header.
    public let header: NumPyHeader
    /// Bytes behind the last element. NumPy leaves them alone: further arrays may follow.
    public var excessCount: Int64 { size - Int64(header.endOffset) }
  }

  /// Checks a `.npy` file: that its header can be read, and that the file is long enough for what it states. The format has no
  /// checksum, so elements are not looked at.
  ///
  /// - Parameter path: of a regular file; symbolic links are followed.
  /// - Throws: ``MappingError``: `invalidLayout` with the offset of what is wrong in the header; `truncated` with the number of
  ///   missing bytes; `notFound`, `permissionDenied`, `isDirectory`.
  public static func verify(_ path: FilePath) throws(MappingError) -> Verification {
    let file = try OpenedFile(reading: path, followsSymbolicLinks: true)
    guard file.kind == .regular else {
      throw MappingError(file.kind == .directory ? .isDirectory : .unsupportedFileType, operation: .verify, path: path)
    }
    let header: NumPyHeader
    do throws(MappingError) {
      let prefix = try start(of: file.descriptor, 12, path)
      // Right because bytes of an array of UInt8 are all initialized.
      let size = try unsafe size(statedIn: prefix.span.bytes)
      header = try NumPyHeader(parsing: start(of: file.descriptor, size, path))
    } catch {
      var error = error
      error.operation = .verify
      error.path = path
      throw error
    }
    guard file.stat.size >= Int64(header.endOffset) else {
      throw MappingError(
        .truncated, operation: .verify, path: path, offset: file.stat.size,
        length: Int64(header.endOffset) - file.stat.size,
        detail: .note("its header states \(header.byteCount) bytes of elements, which end at byte \(header.endOffset)"))
    }
    return Verification(size: file.stat.size, header: header)
  }

  private static func start(of descriptor: CInt, _ count: Int, _ path: FilePath) throws(MappingError) -> [UInt8] {
    var bytes = [UInt8](repeating: 0, count: count)
    let got = unsafe bytes.withUnsafeMutableBytes {
      unsafe pgw_storage_read(descriptor, $0.baseAddress!, $0.count, 0)
    }
    guard got >= 0 else { throw .last(.read, path: path, offset: 0, length: Int64(count)) }
    return Array(bytes[..<got])
  }
}

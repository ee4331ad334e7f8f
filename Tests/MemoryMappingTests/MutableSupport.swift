// SPDX-License-Identifier: Apache-2.0

import MemoryMapping
import SystemPackage
import Testing
import _CTestSupport
import _TestSupport

#if canImport(Glibc)
  import Glibc
#elseif canImport(Darwin)
  import Darwin
#endif

/// What `body` threw, or nil.
func failure(_ body: () throws -> Void) -> MappingError? {
  do {
    try body()
    return nil
  } catch { return error as? MappingError ?? MappingError(.other, operation: .init("\(error)")) }
}

extension MutableMappedFile {
  /// All bytes of the view.
  borrowing func content() throws -> [UInt8] {
    try withBytes(check: .size) { (span: RawSpan) -> [UInt8] in span.withUnsafeBytes { Array($0) } }
  }

  /// Stores one byte in a scope, so that a lost page is replaced and recorded.
  mutating func storeInScope(_ value: UInt8, at offset: Int) throws(MappingError) {
    try withMutableBytes { (span: inout MutableRawSpan) -> Void in
      span.withUnsafeMutableBytes { pgt_store($0.baseAddress! + offset, value) }
    }
  }

  mutating func copy(_ bytes: [UInt8], to offset: Int) throws(MappingError) {
    try copy(bytes.span.bytes, to: offset)
  }
}

/// What read(2) says that the file holds: all of it.
func fileContent(_ path: FilePath) throws -> [UInt8] {
  try PatternFile.read(path, 0..<Int64(fileStatus(path).size))
}

func fileStatus(_ path: FilePath) -> (
  size: Int, allocated: Int, mode: UInt32, owner: UInt32, group: UInt32, inode: UInt64
) {
  var found = stat()
  guard lstat(path.string, &found) == 0 else { return (-1, -1, 0, 0, 0, 0) }
  return (
    Int(found.st_size), Int(found.st_blocks) * 512, UInt32(found.st_mode), found.st_uid, found.st_gid,
    UInt64(found.st_ino)
  )
}

/// The names in a folder, sorted.
func names(in folder: FilePath) -> [String] {
  guard let open = opendir(folder.string) else { return [] }
  defer { closedir(open) }
  var names: [String] = []
  while let entry = readdir(open) {
    let name = withUnsafeBytes(of: entry.pointee.d_name) { String(cString: $0.bindMemory(to: CChar.self).baseAddress!) }
    if name != ".", name != ".." { names.append(name) }
  }
  return names.sorted()
}

/// A file system to try something on.
enum Disk: String, CaseIterable, Sendable {
  case tmpfs, ext4, xfs, btrfs

  /// A new one, empty; nil after a note where it cannot be made here.
  func make(size: Int64? = nil) throws -> MountedImage? {
    guard let system = MountedImage.FileSystem(rawValue: rawValue) else {
      return try MountedImage(tmpfs: Int(size ?? 4 << 20))
    }
    guard Skips.require(Skips.hasProgram(system.program), rawValue, install: system.package) else { return nil }
    return try MountedImage(system, size: size)
  }
}

// SPDX-License-Identifier: Apache-2.0

internal import CPlatform
internal import MemoryMapping
public import SystemPackage

#if canImport(Glibc)
  internal import Glibc
#elseif canImport(Musl)
  internal import Musl
#elseif canImport(Darwin)
  internal import Darwin
#endif

/// The folder in which regions with a name live: in memory, and changeable by this user alone.
///
/// A folder that belongs to somebody else, that others may write, or that is a symbolic link is refused: whoever can put files there could
/// have any region opened in place of the right one.
public struct RuntimeFolder: Sendable, Hashable {
  public let path: FilePath

  /// Any folder, preferably on a file system in memory. It is made when it is missing, and checked when it is used.
  public init(_ path: FilePath) { self.path = path }

  /// `$PAGEWISE_RUNTIME_DIR`, else `$XDG_RUNTIME_DIR/pagewise`, else `/dev/shm/pagewise-UID`.
  ///
  /// On systems where systemd cleans up after logout (`RemoveIPC`), the last one loses its files with the user's last session.
  public static var standard: RuntimeFolder {
    if let path = variable("PAGEWISE_RUNTIME_DIR") { return RuntimeFolder(path) }
    if let path = variable("XDG_RUNTIME_DIR") { return RuntimeFolder(path.appending("pagewise")) }
    #if os(Linux)
      return RuntimeFolder(FilePath("/dev/shm/pagewise-\(pgw_effective_user())"))
    #else
      return RuntimeFolder(FilePath("/tmp/pagewise-\(pgw_effective_user())"))
    #endif
  }

  private static func variable(_ name: String) -> FilePath? {
    guard let value = unsafe getenv(name), unsafe value.pointee != 0 else { return nil }
    return unsafe FilePath(platformString: value)
  }

  /// Opens the folder and proves that it is this user's alone.
  internal func open(making: Bool, _ operation: String) throws(SharedMemoryError) -> OwnedDescriptor {
    if making, unsafe path.withPlatformString({ unsafe pgw_make_private_folder($0) }) != 0, Errno.current != .fileExists
    {
      guard Errno.current == .noSuchFileOrDirectory else { throw .last(operation, note: "the folder \(path)") }
      throw SharedMemoryError(
        .notFound, operation, errno: .noSuchFileOrDirectory, note: "no folder to make \(path) in",
        advice: "Make that folder first, or name another runtime folder.")
    }
    let folder = OwnedDescriptor(number: unsafe path.withPlatformString { unsafe pgw_open_folder($0) })
    if folder.number < 0 {
      let errno = Errno.current
      guard errno == .tooManySymbolicLinkLevels || errno == .notDirectory else {
        throw .last(operation, note: "the folder \(path)")
      }
      throw SharedMemoryError(.insecureFolder, operation, note: "\(path) is a symbolic link or no folder")
    }
    var found = pgw_stat()
    guard unsafe pgw_fstat(folder.number, &found) == 0 else { throw .last(operation, note: "the folder \(path)") }
    guard found.owner == pgw_effective_user(), found.mode & 0o022 == 0 else {
      throw SharedMemoryError(
        .insecureFolder, operation,
        note: "\(path) belongs to user \(found.owner), mode \(String(found.mode & 0o7777, radix: 8))")
    }
    return folder
  }

  internal static let suffix = ".region"

  /// The file's name for a region's.
  internal static func fileName(_ name: String, _ operation: String) throws(SharedMemoryError) -> String {
    guard isValid(name) else {
      throw SharedMemoryError(
        .invalidArgument, operation, region: name,
        note: "a name has 1 to 200 letters, digits, '-', '_' and '.', and does not begin with '.'")
    }
    return name + suffix
  }

  internal static func isValid(_ name: String) -> Bool {
    (1...200).contains(name.utf8.count) && name.utf8.first != UInt8(ascii: ".")
      && name.utf8.allSatisfy {
        switch $0 {
        case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
          UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "-"), UInt8(ascii: "_"), UInt8(ascii: "."):
          true
        default: false
        }
      }
  }
}

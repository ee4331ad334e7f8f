// SPDX-License-Identifier: Apache-2.0

internal import Glibc
public import SystemPackage
internal import _CTestSupport

/// A file system of its own for one test: a tmpfs, or an image file on a loop device. Root only. Unmounted and deleted at
/// the end of the scope; the loop device goes away with its last user, also after a crash.
public struct MountedImage: ~Copyable {
  private let folder: TemporaryDirectory
  /// The mount point.
  public let path: FilePath
  /// The image file; nil for a tmpfs.
  public let image: FilePath?

  public enum FileSystem: String, CaseIterable, Sendable {
    case ext4, xfs, btrfs
    /// The program that makes it.
    public var program: String { "mkfs.\(rawValue)" }
    /// Where the program comes from.
    public var package: String {
      switch self {
      case .ext4: "apt-get install e2fsprogs"
      case .xfs: "apt-get install xfsprogs"
      case .btrfs: "apt-get install btrfs-progs"
      }
    }
    /// The smallest image that its mkfs accepts, rounded up. Bytes.
    public var minimumSize: Int64 {
      switch self {
      case .ext4: 16 << 20
      case .xfs: 320 << 20
      case .btrfs: 128 << 20
      }
    }
  }

  /// A tmpfs of `size` bytes. C: `mount -t tmpfs -o size=…`.
  public init(tmpfs size: Int) throws {
    let folder = try TemporaryDirectory()
    let path = folder.appending("mount")
    try Self.makeFolder(path)
    guard path.withPlatformString({ pgt_mount_tmpfs($0, "size=\(size)") }) == 0 else { throw Errno(rawValue: errno) }
    self.folder = folder
    self.path = path
    image = nil
  }

  /// A new file system in an image file.
  ///
  /// - Parameters:
  ///   - size: bytes; nil for the smallest that works.
  ///   - base: where the image file is made; nil for the temporary folder.
  public init(_ system: FileSystem, size: Int64? = nil, in base: FilePath? = nil) throws {
    let folder = try TemporaryDirectory(in: base)
    let path = folder.appending("mount")
    let image = folder.appending("image")
    let file = try FileDescriptor.open(
      image, .readWrite, options: [.create, .closeOnExec], permissions: .ownerReadWrite)
    try file.closeAfter { try file.resize(to: size ?? system.minimumSize) }
    let made = try Child.run([system.program, system == .ext4 ? "-Fq" : "-fq", image.string])
    guard made.status == 0 else { throw ImageError(text: "\(system.program): \(made.output)") }
    try Self.makeFolder(path)
    try Self.mount(image, on: path, system, options: "")
    self.folder = folder
    self.path = path
    self.image = image
  }

  /// Mounts an image that is there, for instance a copy of one that is mounted too. The image file stays.
  public init(mounting image: FilePath, _ system: FileSystem) throws {
    let folder = try TemporaryDirectory()
    let path = folder.appending("mount")
    try Self.makeFolder(path)
    // A copy has the identity of its original, which XFS would refuse.
    try Self.mount(image, on: path, system, options: system == .xfs ? "nouuid" : "")
    self.folder = folder
    self.path = path
    self.image = image
  }

  private static func mount(_ image: FilePath, on path: FilePath, _ system: FileSystem, options: String) throws {
    var device = [CChar](repeating: 0, count: 64)
    let loop = image.withPlatformString { pgt_loop_attach($0, &device, device.count) }
    guard loop >= 0 else { throw Errno(rawValue: -loop) }
    defer { close(loop) }
    let result = path.withPlatformString { pgt_mount(device, $0, system.rawValue, options) }
    guard result == 0 else { throw Errno(rawValue: errno) }
  }

  /// Unmounts and mounts again, which brings the file system's own journal back. For what was shut down.
  public mutating func remount(_ system: FileSystem) throws {
    guard let image, path.withPlatformString({ pgt_unmount_now($0) }) == 0 else { throw Errno(rawValue: errno) }
    try Self.mount(image, on: path, system, options: "")
  }

  deinit { _ = path.withPlatformString { pgt_unmount($0) } }

  public func appending(_ name: String) -> FilePath { path.appending(name) }

  /// Makes every later I/O of the file system fail. ext4 and XFS.
  public func shutDown() throws {
    guard path.withPlatformString({ pgt_shut_down($0) }) == 0 else { throw Errno(rawValue: errno) }
  }

  /// Writes into a new file until no byte more fits. The space left is less than a block.
  public func fillUp() throws {
    let file = try FileDescriptor.open(
      appending("filler"), .writeOnly, options: [.create, .append, .closeOnExec], permissions: .ownerReadWrite)
    defer { try? file.close() }
    for size in [1 << 20, 1 << 16, 4096, 512] {
      let bytes = [UInt8](repeating: 0x46, count: size)
      do { while true { _ = try file.writeAll(bytes) } } catch let error as Errno where error == .noSpace {}
      // Delayed allocation may find out later.
      pgt_drop_caches(file.rawValue)
    }
  }

  /// Forgets the pages of the image file, so that the next read of the mounted system asks the file system below.
  public func forgetImage() throws {
    guard let image else { return }
    let file = try FileDescriptor.open(image, .readOnly, options: [.closeOnExec])
    try file.closeAfter { guard pgt_drop_caches(file.rawValue) == 0 else { throw Errno(rawValue: errno) } }
  }

  private static func makeFolder(_ path: FilePath) throws {
    guard path.withPlatformString({ mkdir($0, 0o700) }) == 0 else { throw Errno(rawValue: errno) }
  }
}

public struct ImageError: Error, CustomStringConvertible {
  public let text: String
  public var description: String { text }
}

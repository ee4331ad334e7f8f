// SPDX-License-Identifier: Apache-2.0

import CBaselines
import SystemPackage

#if canImport(Glibc)
  @preconcurrency import Glibc
#elseif canImport(Darwin)
  import Darwin
#endif

struct PlaceMissing: Error, CustomStringConvertible { var description: String }

/// Where the storage benchmarks put their files: times are taken in `folder`, on whatever device that is; bytes are counted in
/// `counted`, which for root is an ext4 image of our own behind a loop device, so that no other writer is in the count.
struct StoragePlace: ~Copyable {
  let folder: String
  let counted: String?
  private let isImage: Bool
  let place: String

  /// - Parameters:
  ///   - parent: where to make the folder; nil for the current one, or for `TMPDIR` in a quick run, which need not be on a disk.
  ///   - usesImage: root only.
  init(parent: String?, usesImage: Bool, isQuick: Bool) throws {
    let temporary = getenv("TMPDIR").map { String(cString: $0) } ?? "/tmp"
    // Whole: the library resolves it, and the image is mounted by it.
    guard let found = realpath(parent ?? (isQuick ? temporary : "."), nil) else {
      throw PlaceMissing(description: "there is no folder \(parent ?? ".")")
    }
    defer { free(found) }
    let made = "\(String(cString: found))/pagewise-storage-\(getpid())"
    guard mkdir(made, 0o700) == 0 else { throw PlaceMissing(description: "cannot make \(made)") }
    folder = made
    isImage = usesImage && !isQuick && base_mount_image(made, 2 << 30) == 0
    counted = isImage ? "\(made)/loop" : base_device_written(made) >= 0 ? made : nil
    place = StoragePlace.describe(made)
  }

  deinit {
    if isImage { base_unmount_image(folder) }
    rmdir(folder)
  }

  /// What the reader of the results has to know about the place.
  var notes: [String] {
    var lines = ["times are from \(place)"]
    if isImage {
      lines.append("device KiB are counted on an ext4 image behind a loop device that nobody else writes to")
    } else if counted != nil {
      lines.append(
        "device KiB are counted on that device, which others may write to at the same time: take them with care")
    } else {
      lines.append("device KiB are not counted: the kernel counts none for this place")
    }
    return lines
  }

  private static func describe(_ folder: String) -> String {
    let systems: [UInt64: String] = [
      0xEF53: "ext4", 0x5846_5342: "XFS", 0x9123_683E: "btrfs", 0x0102_1994: "tmpfs", 0x794c_7630: "overlayfs",
      0xF2F5_2010: "F2FS", 0x2FC1_2FC1: "ZFS",
    ]
    let system = systems[base_filesystem_magic(folder)] ?? "an unknown file system"
    var name = [CChar](repeating: 0, count: 64)
    guard base_device_name(folder, &name, name.count) == 0 else { return system }
    return "\(system) on \(name.withUnsafeBufferPointer { String(cString: $0.baseAddress!) })"
  }

  /// KiB that reached the device during `body`, which must end with a sync; nil when nobody counts.
  borrowing func deviceKiB(_ body: () throws -> Void) rethrows -> Double? {
    guard let counted else {
      try body()
      return nil
    }
    // What others have left to write in this file system would be written, and counted, some time.
    _ = base_sync_filesystem(counted)
    let before = base_device_written(counted)
    try body()
    let after = base_device_written(counted)
    return Double(after - before) / 1024
  }
}

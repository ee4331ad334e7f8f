// SPDX-License-Identifier: Apache-2.0

internal import CPlatform

/// The kind of a file system, as far as it matters for mapping.
///
/// The set is open: ``name`` of an unknown kind is its magic number in hexadecimal.
public struct FileSystemKind: Sendable, Hashable, CustomStringConvertible {
  /// The usual lower-case name, for example `ext4`.
  public let name: String
  /// What it means for a reader.
  public let nature: Nature

  /// What stands behind a file system.
  public enum Nature: Sendable, Hashable {
    /// A device or memory of this machine, through this kernel's page cache.
    case local
    /// Another machine: attributes are cached, and a mapping can fault when the other side changes the file.
    case remote
    /// A program of this machine, or the host of this virtual machine, answers each request.
    case relayed
    /// No stored bytes: made when they are read (/proc, /sys). Sizes are not true.
    case synthetic
  }

  internal init(_ name: String, _ nature: Nature) {
    self.name = name
    self.nature = nature
  }

  /// True for a file system on another machine.
  public var isRemote: Bool { nature == .remote }

  /// True where reading is the better choice whatever the size: faults there are slow, or end in lost pages.
  public var prefersReading: Bool { nature != .local }

  /// True where there is no device: what lies there is in memory or in swap, and a power cut takes all of it.
  public var livesInMemory: Bool { ["tmpfs", "ramfs", "hugetlbfs"].contains(name) }

  public var description: String { name }

  /// The kind behind the number that statfs(2) gives. C: `f_type`, the constants of `linux/magic.h`.
  public init(magic: UInt64) {
    // The field is signed and 32 bits wide on some platforms: compare the low half.
    self =
      Self.table[UInt32(truncatingIfNeeded: magic)]
      ?? FileSystemKind("0x" + String(UInt32(truncatingIfNeeded: magic), radix: 16), .local)
  }

  /// The kind that an open file lies on; nil when the kernel does not say. C: `fstatfs`.
  package init?(of descriptor: CInt) {
    var found = pgw_filesystem()
    guard unsafe pgw_fstatfs(descriptor, &found) == 0 else { return nil }
    self.init(found)
  }

  internal init(_ found: pgw_filesystem) {
    guard found.is_local_known else {
      self.init(magic: found.type)
      return
    }
    // Darwin: a name and a flag instead of a number.
    let name = unsafe withUnsafeBytes(of: found.name) { bytes in
      unsafe String(decoding: bytes.prefix { $0 != 0 }, as: UTF8.self)
    }
    self.init(name.isEmpty ? "unknown" : name, found.is_local ? .local : .remote)
  }

  private static let table: [UInt32: FileSystemKind] = [
    // ext2, ext3 and ext4 share one number; ext4 is the one in use.
    0xEF53: .init("ext4", .local),
    0x5846_5342: .init("xfs", .local),
    0x9123_683E: .init("btrfs", .local),
    0xF2F5_2010: .init("f2fs", .local),
    0x2FC1_2FC1: .init("zfs", .local),
    0xCA45_1A4E: .init("bcachefs", .local),
    0x0102_1994: .init("tmpfs", .local),
    0x8584_58F6: .init("ramfs", .local),
    0x9584_58F6: .init("hugetlbfs", .local),
    0x794C_7630: .init("overlay", .local),
    0x7371_7368: .init("squashfs", .local),
    0xE0F5_E1E2: .init("erofs", .local),
    0x9660: .init("iso9660", .local),
    0x1501_3346: .init("udf", .local),
    0x4D44: .init("vfat", .local),
    0x2011_BAB0: .init("exfat", .local),
    0x5346_544E: .init("ntfs", .local),
    0x7366_746E: .init("ntfs3", .local),
    0x6969: .init("nfs", .remote),
    0xFF53_4D42: .init("cifs", .remote),
    0xFE53_4D42: .init("smb2", .remote),
    0x517B: .init("smb", .remote),
    0x00C3_6400: .init("ceph", .remote),
    0x5346_414F: .init("afs", .remote),
    0x0BD0_0BD0: .init("lustre", .remote),
    0x4750_4653: .init("gpfs", .remote),
    0x0116_1970: .init("gfs2", .remote),
    0x7461_636F: .init("ocfs2", .remote),
    0x1983_0326: .init("fhgfs", .remote),
    0x0102_1997: .init("9p", .relayed),
    0x6573_5546: .init("fuse", .relayed),
    0x786F_4256: .init("vboxsf", .relayed),
    0xBACB_ACBC: .init("vmhgfs", .relayed),
    0x9FA0: .init("proc", .synthetic),
    0x6265_6572: .init("sysfs", .synthetic),
    0x0027_E0EB: .init("cgroup", .synthetic),
    0x6367_7270: .init("cgroup2", .synthetic),
    0x6462_6720: .init("debugfs", .synthetic),
    0x7472_6163: .init("tracefs", .synthetic),
    0x6273_6674: .init("securityfs", .synthetic),
    0xCAFE_4A11: .init("bpf", .synthetic),
    0x6E73_6673: .init("nsfs", .synthetic),
    0xDE5E_81E4: .init("efivarfs", .synthetic),
  ]
}

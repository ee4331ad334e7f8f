// SPDX-License-Identifier: Apache-2.0

internal import CPlatform
internal import MemoryMapping
package import SystemPackage

extension ProcessMapping {
  /// The link in /proc that stands for exactly the mapped file, whatever happened to its name. To follow it needs
  /// CAP_SYS_ADMIN or CAP_CHECKPOINT_RESTORE.
  package func place(in process: Int32) -> FilePath? {
    FilePath(
      "/proc/\(process)/map_files/\(String(addresses.lowerBound, radix: 16))-\(String(addresses.upperBound, radix: 16))"
    )
  }
}

/// What is mapped, and what of it stands at its path now.
package enum MappedFileState {
  /// A path as the process sees it: below its own root.
  package static func place(_ path: FilePath, in process: Int32) -> FilePath {
    FilePath("/proc/\(process)/root").pushing(path.removingRoot())
  }
}

// SPDX-License-Identifier: Apache-2.0

#if canImport(Glibc)
  internal import Glibc
#elseif canImport(Musl)
  internal import Musl
#elseif canImport(Darwin)
  internal import Darwin
#endif

/// The set of processes among which a process number means something.
enum ProcessNamespace {
  /// The inode of this process's PID namespace, as peers of a region are recorded with; 1 on systems that have none.
  static var own: UInt64 {
    #if os(Linux)
      var found = stat()
      return unsafe stat("/proc/self/ns/pid", &found) == 0 ? UInt64(found.st_ino) : 0
    #else
      return 1
    #endif
  }
}

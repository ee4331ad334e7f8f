// SPDX-License-Identifier: Apache-2.0

internal import CPlatform
internal import SystemPackage

#if canImport(Glibc)
  internal import Glibc
#elseif canImport(Musl)
  internal import Musl
#elseif canImport(Darwin)
  internal import Darwin
#endif

/// How much memory and address space this process may still use.
@_spi(Testing) public enum MemoryRoom {
  /// Free memory in bytes: what the system has available, or what is left under the limit of a control group above this
  /// process, whichever is less. Nil where nothing can be asked. Reads a few files of /proc and /sys, about 50 µs.
  public static var bytes: Int64? {
    let system = smallFile("/proc/meminfo").flatMap { number(after: "MemAvailable:", in: $0) }.map { $0 * 1024 }
    let group = smallFile("/proc/thread-self/cgroup").flatMap { cgroupRoom($0, read: smallFile) }
    switch (system, group) {
    case (let a?, let b?): return min(a, b)
    case (let a?, nil): return a
    case (nil, let b): return b
    }
  }

  /// Address space in bytes that mmap may still hand out; nil without a limit. C: `getrlimit(RLIMIT_AS)`.
  public static var addressSpace: Int64? {
    var limit = rlimit()
    #if canImport(Glibc)
      let failed = unsafe getrlimit(__rlimit_resource_t(RLIMIT_AS.rawValue), &limit) != 0
    #else
      let failed = unsafe getrlimit(RLIMIT_AS, &limit) != 0
    #endif
    // RLIM_INFINITY is all ones; anything that high is no limit.
    guard !failed, limit.rlim_cur < UInt64(Int64.max) else { return nil }
    // First field of statm: the size of the address space in pages.
    let used = smallFile("/proc/thread-self/statm").flatMap { number(after: "", in: $0) } ?? 0
    return max(0, Int64(limit.rlim_cur) - used * Int64(SystemPage.size))
  }

  /// How far the kernel reads ahead on a device, in bytes.
  package static func readAhead(device: UInt64) -> Int64? {
    let major = device >> 8 & 0xFFF | device >> 32 & 0xFFFF_F000
    let minor = device & 0xFF | device >> 12 & 0xFFFF_FF00
    for place in [
      "/sys/class/bdi/\(major):\(minor)/read_ahead_kb", "/sys/dev/block/\(major):\(minor)/../queue/read_ahead_kb",
    ] {
      if let text = smallFile(place), let value = number(after: "", in: text) { return value * 1024 }
    }
    return nil
  }

  /// What is left under the tightest limit on the way from this process's group to the root.
  ///
  /// - Parameters:
  ///   - membership: the text of /proc/self/cgroup. `0::/path` is version 2, `N:...,memory,...:/path` version 1.
  ///   - read: a file's text, nil when it is not there. An argument so that tests can give a tree of their own.
  public static func cgroupRoom(_ membership: String, read: (String) -> String?) -> Int64? {
    var room: Int64? = nil
    for line in membership.split(separator: "\n") {
      let parts = line.split(separator: ":", maxSplits: 2, omittingEmptySubsequences: false)
      guard parts.count == 3 else { continue }
      let controllers = parts[1].split(separator: ",")
      let isVersion2 = parts[0] == "0" && controllers.isEmpty
      guard isVersion2 || controllers.contains("memory") else { continue }
      let (root, limitName, usageName, cacheName) =
        isVersion2
        ? ("/sys/fs/cgroup", "memory.max", "memory.current", "inactive_file")
        : ("/sys/fs/cgroup/memory", "memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")
      // In a container the path may name a group that is not visible: then the root of the mount is our own group.
      var path = parts[2] == "/" ? "" : String(parts[2])
      while true {
        let folder = root + path
        if let limit = read(folder + "/" + limitName).flatMap({ number(after: "", in: $0) }), limit < 1 << 60,
          let usage = read(folder + "/" + usageName).flatMap({ number(after: "", in: $0) })
        {
          // Page cache that nobody used lately gives way by itself, so it counts as free.
          let cache = read(folder + "/memory.stat").flatMap { number(after: cacheName + " ", in: $0) } ?? 0
          room = min(room ?? .max, max(0, limit - usage + cache))
        }
        guard let slash = path.lastIndex(of: "/") else { break }
        path = String(path[..<slash])
      }
    }
    return room
  }

  /// The first whole number after `label`, where `label` begins a line; nil when there is none, as for `max`.
  package static func number(after label: String, in text: String) -> Int64? {
    for line in text.split(separator: "\n") where line.hasPrefix(label) {
      let digits = line.dropFirst(label.count).drop { $0 == " " || $0 == "\t" }.prefix { $0.isASCII && $0.isNumber }
      return Int64(digits)
    }
    return nil
  }

  /// The first 16 KiB of a text file; nil when it cannot be read.
  package static func smallFile(_ path: String) -> String? {
    let descriptor = unsafe path.withCString { unsafe pgw_open($0, O_RDONLY, 0) }
    guard descriptor >= 0 else { return nil }
    defer { _ = pgw_close(descriptor) }
    var count = 0
    let bytes = unsafe [UInt8](unsafeUninitializedCapacity: 16 << 10) { buffer, initialized in
      while count < buffer.count {
        let got = unsafe pgw_pread(descriptor, buffer.baseAddress! + count, buffer.count - count, Int64(count))
        if got <= 0 { break }
        count += got
      }
      initialized = count
    }
    return String(decoding: bytes, as: UTF8.self)
  }
}

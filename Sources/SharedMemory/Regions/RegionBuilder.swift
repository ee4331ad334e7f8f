// SPDX-License-Identifier: Apache-2.0

internal import CPlatform
@_spi(Testing) internal import MemoryMapping
internal import SystemPackage

/// Makes an empty file a region. Nobody else can see the file yet.
internal enum RegionBuilder {
  internal static func build(_ layout: RegionLayout, in file: CInt, name: String?) throws(SharedMemoryError) {
    let (offsets, total) = try layout.placed(pageSize: SystemPage.size)
    // Asking the kernel for more than the memory group has would end a process of the group instead of the call.
    if let room = MemoryRoom.bytes, Int64(total) > room {
      throw SharedMemoryError(
        .noSpace, "create", region: name, note: "\(total) bytes, and the memory left to this process is \(room)")
    }
    KillPoints.pass("region.build.size")
    guard pgw_truncate(file, Int64(total)) == 0 else { throw .last("create", region: name) }
    KillPoints.pass("region.build.room")
    // Every page is there from now on: a store cannot meet a full file system.
    if pgw_allocate(file, 0, Int64(total)) != 0 {
      let errno = Errno.current
      guard SharedMemoryError.code(of: errno) == .notSupported else {
        throw SharedMemoryError(
          SharedMemoryError.code(of: errno), "create", region: name, errno: errno, note: "\(total) bytes")
      }
      try fill(file, total, name)
    }
    let parts = zip(layout.parts, offsets).map { RegionFormat.PlacedPart(part: $0, offset: $1) }
    let header = RegionFormat.Header(
      identifier: try .random(), byteCount: total, peerCapacity: layout.peerCapacity, createdNanoseconds: pgw_wall_ns(),
      parts: parts)
    for placed in parts where placed.part.kind == .mutex {
      try write(SharedMutex.image(name), file, placed.offset, name)
    }
    try write(RegionFormat.encode(header), file, 0, name)
  }

  /// Where the file system cannot reserve, writing zeros does.
  private static func fill(_ file: CInt, _ total: Int, _ name: String?) throws(SharedMemoryError) {
    let zeros = [UInt8](repeating: 0, count: 1 << 20)
    var offset = 0
    while offset < total {
      try write(Array(zeros.prefix(total - offset)), file, offset, name)
      offset += zeros.count
    }
  }

  private static func write(_ bytes: [UInt8], _ file: CInt, _ offset: Int, _ name: String?) throws(SharedMemoryError) {
    KillPoints.pass("region.build.write")
    var done = 0
    while done < bytes.count {
      let put = unsafe bytes.withUnsafeBytes {
        unsafe pgw_pwrite(file, $0.baseAddress! + done, bytes.count - done, Int64(offset + done))
      }
      guard put > 0 else { throw .last("create", region: name) }
      done += put
    }
  }
}

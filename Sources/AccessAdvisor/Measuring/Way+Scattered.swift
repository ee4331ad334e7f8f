// SPDX-License-Identifier: Apache-2.0

internal import CPlatform
internal import MemoryMapping
internal import PageCache
internal import SystemPackage

extension Subject {
  /// Scattered reads: by a mapping, by one call each, or (where that is bounded) from one buffer with everything. A stream
  /// has no answer to them.
  internal func scattered(_ access: Access) -> [Way] {
    var ways = [
      Way(strategy: .map, method: "map, touch each place") { seed, _ throws(MappingError) in
        let map = try map(length: size)
        return Way.Outcome(checksum: try fold(map, access, seed))
      },
      Way(strategy: .mapPopulate, method: "map, load all pages at once", isExtrapolated: isSampled) {
        seed, _ throws(MappingError) in
        let map = try map(length: size)
        let start = pgw_now_ns()
        try map.prefault(0..<Int(window))
        let loading = pgw_now_ns() - start
        // Only what was loaded may be touched, so on a part these are other places than those of the other ways.
        let sum = try fold(map, access, seed, in: window)
        return Way.Outcome(
          checksum: window < scatterRange ? nil : sum, leftOut: UInt64(Double(loading) * (scale - 1)))
      },
      Way(strategy: .read, method: "one read call for each place") { seed, _ throws(MappingError) in
        try readEach(access, seed)
      },
    ]
    if size <= Self.wholeBufferLimit, !isSampled {
      ways.append(
        Way(strategy: .read, method: "read the file into one buffer") { seed, _ throws(MappingError) in
          try readWhole(access, seed)
        })
    }
    return ways
  }

  /// Calls `body` for each place of the round, in the first `range` bytes.
  @inline(__always)
  internal func forEachPlace(
    _ access: Access, _ seed: UInt64, in range: Int64? = nil,
    _ body: (_ offset: Int64, _ length: Int) throws(MappingError) -> Void
  ) throws(MappingError) {
    let range = range ?? scatterRange
    var places = RandomPlaces(seed: seed)
    if access.readSize == 1 {
      for _ in 0..<access.count { try body(places.next(below: range), 1) }
      return
    }
    let record = Int64(access.readSize)
    let records = (range + record - 1) / record
    for _ in 0..<access.count {
      let offset = places.next(below: records) * record
      try body(offset, Int(min(record, range - offset)))
    }
  }

  private func fold(
    _ map: borrowing MappedFile, _ access: Access, _ seed: UInt64, in range: Int64? = nil
  ) throws(MappingError) -> UInt64 {
    try map.withBytes { span in
      unsafe span.withUnsafeBytes { bytes in unsafe fold(bytes, access, seed, in: range) }
    }
  }

  /// The places of a round out of the file's bytes in memory.
  @inline(__always)
  internal func fold(
    _ bytes: UnsafeRawBufferPointer, _ access: Access, _ seed: UInt64, in range: Int64? = nil
  ) -> UInt64 {
    var sum = Checksum()
    var single: UInt64 = 0
    let isByte = access.readSize == 1
    // Cannot throw: the body does not.
    try? forEachPlace(access, seed, in: range) { offset, length throws(MappingError) in
      if isByte {
        single = single &* 31 &+ UInt64(unsafe bytes[Int(offset)])
      } else {
        unsafe sum.add(UnsafeRawBufferPointer(rebasing: bytes[Int(offset)..<Int(offset) + length]))
      }
    }
    return isByte ? single : sum.value
  }

  private func readEach(_ access: Access, _ seed: UInt64) throws(MappingError) -> Way.Outcome {
    let file = try ObservedFile(path)
    let buffer = UnsafeMutableRawBufferPointer.allocate(byteCount: access.readSize, alignment: 64)
    defer { unsafe buffer.deallocate() }
    var sum = Checksum()
    var single: UInt64 = 0
    let isByte = access.readSize == 1
    try forEachPlace(access, seed) { offset, length throws(MappingError) in
      unsafe try file.read(offset, into: buffer.baseAddress!, count: length, path: path)
      if isByte {
        single = single &* 31 &+ UInt64(unsafe buffer[0])
      } else {
        unsafe sum.add(UnsafeRawBufferPointer(rebasing: buffer[0..<length]))
      }
    }
    return Way.Outcome(checksum: isByte ? single : sum.value)
  }

  private func readWhole(_ access: Access, _ seed: UInt64) throws(MappingError) -> Way.Outcome {
    let file = try ObservedFile(path)
    let buffer = UnsafeMutableRawBufferPointer.allocate(byteCount: Int(size), alignment: 64)
    defer { unsafe buffer.deallocate() }
    unsafe try file.read(0, into: buffer.baseAddress!, count: Int(size), path: path)
    return Way.Outcome(checksum: unsafe fold(UnsafeRawBufferPointer(buffer), access, seed))
  }
}

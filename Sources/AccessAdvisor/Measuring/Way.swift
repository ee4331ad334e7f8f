// SPDX-License-Identifier: Apache-2.0

internal import CPlatform
internal import MemoryMapping
internal import PageCache
internal import SystemPackage

/// One use of the file by one strategy, from opening to closing.
internal struct Way {
  /// Nil for the library's own choice.
  internal let strategy: FileBytes.Strategy?
  /// What it does, for readers of the report.
  internal let method: String
  /// Only part of the work is done; the time is for all of it.
  internal var isExtrapolated = false
  /// Gets the round's seed, and the probe in an untimed run that wants to know the decision.
  internal let run: (_ seed: UInt64, _ probe: DecisionProbe?) throws(MappingError) -> Outcome

  internal struct Outcome {
    /// Of the bytes that were seen; nil where they are others than those of the other ways.
    internal var checksum: UInt64?
    /// Nanoseconds that the part which was left out would have cost.
    internal var leftOut: UInt64 = 0
  }
}

/// Takes the decision out of a run.
internal final class DecisionProbe {
  internal var decision: FileBytes.Decision? = nil
}

extension Subject {
  internal static let streamPiece = 256 << 10
  /// Up to this size, reading the whole file is measured as a way to serve scattered reads.
  internal static let wholeBufferLimit: Int64 = 64 << 20

  /// The fixed strategies for `access`.
  internal func fixedWays(_ access: Access) -> [Way] {
    if isSynthetic { return [readUntilEnd(.read), readUntilEnd(.stream)] }
    return access.isPass ? passes(access) : scattered(access)
  }

  private func passes(_ access: Access) -> [Way] {
    let piece = access.kind == .sequential ? Access.recordSize : nil
    let each = piece == nil ? "" : ", in records of 4 KiB"
    var ways = [
      Way(strategy: .map, method: "map" + each, isExtrapolated: isSampled) { _, _ throws(MappingError) in
        try mapPass(populate: false, piece: piece)
      },
      Way(strategy: .mapPopulate, method: "map, load all pages at once" + each, isExtrapolated: isSampled) {
        _, _ throws(MappingError) in try mapPass(populate: true, piece: piece)
      },
      Way(strategy: .read, method: "read into one buffer of its size" + each, isExtrapolated: isSampled) {
        _, _ throws(MappingError) in try readPass(pieceRoom: Int(window), recordSize: piece)
      },
    ]
    ways.append(
      Way(strategy: .stream, method: "read through a buffer of 256 KiB" + each, isExtrapolated: isSampled) {
        _, _ throws(MappingError) in
        try readPass(pieceRoom: min(Self.streamPiece, Int(window)), recordSize: piece)
      })
    return ways
  }

  private func mapPass(populate: Bool, piece: Int?) throws(MappingError) -> Way.Outcome {
    let map = try map(length: window, populate: populate)
    var sum = Checksum()
    let step = piece ?? map.count
    var at = 0
    while at < map.count {
      let end = min(at + step, map.count)
      try map.withBytes(at..<end) { sum.add($0) }
      at = end
    }
    return Way.Outcome(checksum: sum.value)
  }

  private func readPass(pieceRoom: Int, recordSize: Int?) throws(MappingError) -> Way.Outcome {
    let file = try ObservedFile(path)
    let buffer = UnsafeMutableRawBufferPointer.allocate(byteCount: pieceRoom, alignment: 64)
    defer { unsafe buffer.deallocate() }
    var sum = Checksum()
    var at: Int64 = 0
    while at < window {
      let length = Int(min(Int64(pieceRoom), window - at))
      unsafe try file.read(at, into: buffer.baseAddress!, count: length, path: path)
      let step = recordSize ?? length
      var start = 0
      while start < length {
        let end = min(start + step, length)
        unsafe sum.add(UnsafeRawBufferPointer(rebasing: buffer[start..<end]))
        start = end
      }
      at += Int64(length)
    }
    return Way.Outcome(checksum: sum.value)
  }

  /// Files of /proc: no size, no mapping, and other bytes each time, so there is no checksum.
  private func readUntilEnd(_ strategy: FileBytes.Strategy) -> Way {
    let method =
      strategy == .read ? "read until it ends, into a buffer that grows" : "read until it ends, through 64 KiB"
    return Way(strategy: strategy, method: method) { _, _ throws(MappingError) in
      let file = try ObservedFile(path)
      var room = strategy == .read ? 4096 : 64 << 10
      var buffer = UnsafeMutableRawBufferPointer.allocate(byteCount: room, alignment: 64)
      defer { unsafe buffer.deallocate() }
      // Only for the work of it: the bytes are others each time.
      var sum = Checksum()
      var at: Int64 = 0
      while at < Self.syntheticLimit {
        let used = strategy == .read ? Int(at) : 0
        if used == room {
          let larger = UnsafeMutableRawBufferPointer.allocate(byteCount: room * 2, alignment: 64)
          unsafe larger.copyMemory(from: UnsafeRawBufferPointer(buffer))
          unsafe buffer.deallocate()
          unsafe buffer = unsafe larger
          room *= 2
        }
        let got = unsafe pgw_pread(file.number, buffer.baseAddress! + used, room - used, at)
        if got < 0 { throw .failed(.read, path, offset: at) }
        if got == 0 { break }
        unsafe sum.add(UnsafeRawBufferPointer(rebasing: buffer[used..<used + got]))
        at += Int64(got)
      }
      return Way.Outcome(checksum: nil)
    }
  }

  /// Some files of /proc are the whole of memory.
  internal static let syntheticLimit: Int64 = 64 << 20
}

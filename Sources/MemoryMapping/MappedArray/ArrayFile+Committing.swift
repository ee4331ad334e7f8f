// SPDX-License-Identifier: Apache-2.0

internal import CPlatform
internal import SystemPackage

extension ArrayFile {
  internal mutating func commit(_ level: FlushLevel) throws(MappingError) {
    let next = rows == committed.rows ? nil : try committed.resized(to: rows)
    if isInPlace { try commitInPlace(next, level) } else { try commitAtomic(next) }
  }

  /// The elements, a sync, the count, a sync. At each moment the elements below the count that stands in the file, and the one
  /// that may be on disk, are on disk before it.
  private mutating func commitInPlace(_ next: ArrayHeader?, _ level: FlushLevel) throws(MappingError) {
    guard let next else { return try withMap { map throws(MappingError) in try map.flush(level) } }
    let descriptor = try withMap { map throws(MappingError) in
      try map.flush(.barrier)
      return map.descriptor
    }
    if let words = next.difference(from: committed) {
      do throws(MappingError) {
        try Self.write(next.bytes, words, descriptor, .commit, path)
      } catch {
        // A part of the words may stand there. If they cannot be taken back, nobody knows the count.
        do throws(MappingError) { try Self.write(committed.bytes, words, descriptor, .commit, path) } catch {
          withMap { map in map.poison(error) }
        }
        throw error
      }
    }
    let isShorter = next.rows < committed.rows
    committed = next
    peakEnd = max(peakEnd, next.header.endOffset)
    try withMap { map throws(MappingError) in try map.flush(level) }
    if isShorter { trim() }
  }

  private mutating func commitAtomic(_ next: ArrayHeader?) throws(MappingError) {
    guard isInTransaction else { return try atomic!.sync() }
    // An earlier attempt may have left another count there.
    if next != nil || isHeaderStored {
      let header = next ?? committed
      isHeaderStored = true
      try Self.store(header.bytes, 0..<min(ArrayHeader.sectorSize, header.bytes.count), in: &atomic!)
    }
    try atomic!.commit()
    isHeaderStored = false
    if let next { committed = next }
  }

  internal mutating func rollback() throws(MappingError) {
    guard !isInPlace else {
      throw MappingError(
        .notSupported, operation: .rollback, path: path,
        detail: .note("an array that is changed in place has no older state; open it as .atomic"))
    }
    guard isInTransaction else { return }
    try atomic!.rollback()
    isHeaderStored = false
    rows = committed.rows
    dirtyEnd = min(dirtyEnd, fileCount)
  }

  /// Gives back the room behind what is committed: by a shorter file if nobody else has it open, else by a hole where nobody can be
  /// reading. It may fail, and then the file stays longer than its header says.
  internal mutating func trim() {
    let end = committed.header.endOffset
    let isHealthy = withMap { map in !map.isPoisoned && !map.faultFlag.isRaised }
    guard isHealthy, fileCount > end, fixedReason == nil, reservedEnd > end else { return }
    do throws(MappingError) { try inPlace!.resize(to: end) } catch {
      let hole = max(end, peakEnd)
      if error.code == .busy, hole < fileCount { try? inPlace!.punchHole(hole..<fileCount) }
    }
    dirtyEnd = min(dirtyEnd, fileCount)
    reservedEnd = min(reservedEnd, end)
  }
}

extension MutableMappedFile {
  internal var descriptor: CInt { map.range.descriptor }
}

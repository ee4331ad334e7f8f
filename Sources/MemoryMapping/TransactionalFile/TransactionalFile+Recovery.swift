// SPDX-License-Identifier: Apache-2.0

internal import CPlatform
internal import SystemPackage

extension TransactionalFile {
  /// Brings what the journal holds into the file, then begins a new epoch. Nothing is done where there is nothing to do.
  internal static func recover(
    _ file: CInt, _ journal: inout Journal, _ header: Journal.Header, _ subject: Journal.Subject, size: Int64,
    options: Options, path: FilePath
  ) throws(MappingError) -> Recovery {
    // The lowest bit or unequal words: a writer ended while it was applying.
    let settled = header.state.map { $0 & 1 == 0 } ?? false
    var records = try journal.scan(state: header.state)
    let isStrange = !header.subject.matches(subject)
    if isStrange, !records.isEmpty {
      switch options.strangeJournal {
      case .refuse:
        throw MappingError(
          .corrupt, operation: .replay, path: path,
          detail: .note(
            "\(journal.path.lastComponent?.string ?? "the journal") holds \(records.count) commits of another file; "
              + "say whether to replay or discard them"))
      case .replay: break
      case .discard:
        // A new epoch before the journal is this file's: no crash in between can bring the records back.
        let newest = records.last?.generation ?? journal.slot.generation
        records = []
        try journal.beginEpoch(generation: newest, size: size)
        try journal.publish(generation: newest, isApplying: false)
      }
    }
    // Sizes of another file say nothing about this one.
    if !isStrange, size < journal.slot.size {
      throw MappingError(
        .truncated, operation: .replay, path: path, offset: size, length: journal.slot.size - size,
        detail: .fileSize(size))
    }
    // What was found may be in the page cache alone: left by a writer that was killed before its sync ended, or, after a sync that
    // failed, never to be written again by itself. So it is written once more, and synced, before anything is built on it.
    try journal.rewrite(upTo: records.last.map { $0.offset + $0.length })
    try journal.sync()
    guard let last = records.last else {
      if !settled { try journal.publish(generation: journal.slot.generation, isApplying: false) }
      if journal.slot.size != size {
        guard pgw_storage_sync(file, PGW_SYNC_DEVICE) == 0 else { throw .last(.replay, path: path) }
        try journal.beginEpoch(generation: journal.slot.generation, size: size)
      }
      // Only now: a crash before leaves it another file's, with no records.
      if isStrange { try journal.rebind(to: subject) }
      return Recovery(replayedCommits: 0, generation: journal.slot.generation)
    }
    try journal.publish(generation: journal.slot.generation, isApplying: true)
    var known = size
    for record in records {
      if record.size > known {
        guard pgw_storage_truncate(file, record.size) == 0 else {
          throw .last(.replay, path: path, offset: known, length: record.size - known)
        }
        known = record.size
      }
      try journal.replay(record, into: file, path: path)
    }
    guard pgw_storage_sync(file, PGW_SYNC_DATA) == 0 else { throw .last(.replay, path: path) }
    try journal.beginEpoch(generation: last.generation, size: known)
    if isStrange { try journal.rebind(to: subject) }
    try journal.publish(generation: last.generation, isApplying: false)
    return Recovery(replayedCommits: records.count, generation: last.generation)
  }
}

extension Journal {
  /// Writes the slot that counts, and the records before `end`, once more as they are.
  internal borrowing func rewrite(upTo end: Int64?) throws(MappingError) {
    try write(slot.encoded(seed: seed), at: Self.slotOffsets[Int(slot.epoch % 2)], .replay)
    var at = Int64(Self.headerSize)
    var bytes: [UInt8] = []
    while let end, at < end {
      bytes = [UInt8](repeating: 0, count: Int(min(end - at, 1 << 20)))
      try read(&bytes, at: at)
      try write(bytes, at: at, .replay)
      at += Int64(bytes.count)
    }
  }

  /// Makes this the journal of another file.
  internal borrowing func rebind(to subject: Subject) throws(MappingError) {
    var bytes = Header.magic + [UInt8](repeating: 0, count: 44)
    bytes.store(Self.version.littleEndian, at: 8)
    bytes.replaceSubrange(16..<32, with: identifier)
    bytes.store(subject.inode.littleEndian, at: 32)
    bytes.store(subject.birth.littleEndian, at: 40)
    bytes.store(Self.checksum(bytes[..<48], 0).littleEndian, at: 48)
    let result = unsafe bytes.withUnsafeBytes {
      unsafe pgw_storage_write(descriptor.number, $0.baseAddress!, $0.count, 0)
    }
    guard result == 0, pgw_storage_sync(descriptor.number, PGW_SYNC_DATA) == 0 else {
      throw .last(.replay, path: path)
    }
  }
}

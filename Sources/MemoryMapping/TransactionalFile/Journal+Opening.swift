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

extension Journal {
  /// The file that a journal belongs to, as far as it can be told after a reboot.
  internal struct Subject: Sendable, Hashable {
    internal var inode: UInt64
    /// 0 where the file system keeps none.
    internal var birth: Int64

    internal init(descriptor: CInt, inode: UInt64) {
      self.inode = inode
      birth = pgw_birth_ns(descriptor)
    }

    internal init(inode: UInt64, birth: Int64) {
      self.inode = inode
      self.birth = birth
    }

    /// Without a birth time on either side the inode must do.
    internal func matches(_ other: Subject) -> Bool {
      inode == other.inode && (birth == other.birth || birth == 0 || other.birth == 0)
    }
  }

  internal struct Header: Sendable, Hashable {
    internal static let magic = Array("PGWTXJ\r\n".utf8)
    internal var identifier: [UInt8]
    internal var subject: Subject
    internal var slots: [Slot?]
    internal var state: UInt64?

    /// The slot that counts.
    internal var slot: Slot? { slots.compactMap { $0 }.max { $0.epoch < $1.epoch } }

    /// Reads the first 4,096 bytes of a journal.
    internal init(_ bytes: [UInt8], path: FilePath) throws(MappingError) {
      func refuse(_ why: String) -> MappingError {
        MappingError(.corrupt, operation: .replay, path: path, offset: 0, detail: .note(why))
      }
      guard bytes.count == Journal.headerSize else { throw refuse("shorter than its header") }
      guard Array(bytes[0..<8]) == Self.magic else { throw refuse("not a journal: its first 8 bytes are others") }
      let version = UInt32(littleEndian: bytes.load(at: 8))
      guard version == Journal.version else {
        throw MappingError(
          .notSupported, operation: .replay, path: path, offset: 8, detail: .note("journal of version \(version)"))
      }
      guard UInt32(littleEndian: bytes.load(at: 48)) == Journal.checksum(bytes[..<48], 0) else {
        throw refuse("the checksum of its header is wrong")
      }
      identifier = Array(bytes[16..<32])
      subject = Subject(inode: UInt64(littleEndian: bytes.load(at: 32)), birth: Int64(littleEndian: bytes.load(at: 40)))
      let seed = Journal.checksum(identifier[...], 0)
      slots = Journal.slotOffsets.map { Slot(bytes[Int($0)..<Int($0) + Slot.byteCount], seed: seed) }
      let lower: UInt64 = bytes.load(at: Int(Journal.stateOffset))
      let upper: UInt64 = bytes.load(at: Int(Journal.stateOffset) + 8)
      state = lower == upper ? UInt64(littleEndian: lower) : nil
    }
  }

  /// Opens the journal of a file, or makes it.
  internal static func open(
    path: FilePath, of file: CInt, subject: Subject, size: Int64, permissions: UInt32
  ) throws(MappingError) -> Journal {
    let found = unsafe path.withPlatformString { unsafe pgw_storage_open($0, O_RDWR | O_NOFOLLOW | O_NONBLOCK, 0) }
    if found < 0 {
      let error = MappingError.last(.open, path: path)
      guard error.code == .notFound else { throw error }
      // The journal will say that the file has this size, so it must have it after a power cut.
      guard pgw_storage_sync(file, PGW_SYNC_DEVICE) == 0 else { throw .last(.create, path: path) }
      return try make(path: path, subject: subject, size: size, permissions: permissions)
    }
    return try adopt(OwnedDescriptor(number: found), path: path)
  }

  /// For those who look only.
  internal static func openReadOnly(path: FilePath) throws(MappingError) -> Journal {
    let found = unsafe path.withPlatformString { unsafe pgw_storage_open($0, O_RDONLY | O_NOFOLLOW | O_NONBLOCK, 0) }
    guard found >= 0 else { throw .last(.open, path: path) }
    return try adopt(OwnedDescriptor(number: found), path: path)
  }

  private static func adopt(
    _ descriptor: consuming OwnedDescriptor, path: FilePath
  ) throws(MappingError) -> Journal {
    var size: UInt64 = 0
    var allocated: UInt64 = 0
    guard unsafe pgw_storage_stat(descriptor.number, &size, &allocated) == 0 else { throw .last(.stat, path: path) }
    let header = try readHeader(descriptor.number, path: path)
    guard let slot = header.slot else {
      throw MappingError(
        .corrupt, operation: .replay, path: path, offset: slotOffsets[0],
        detail: .note("neither of its slots has a right checksum"))
    }
    return Journal(descriptor: descriptor, path: path, header: header, slot: slot, capacity: Int64(size))
  }

  internal static func readHeader(_ descriptor: CInt, path: FilePath) throws(MappingError) -> Header {
    var bytes = [UInt8](repeating: 0, count: headerSize)
    let got = unsafe bytes.withUnsafeMutableBytes {
      unsafe pgw_storage_read(descriptor, $0.baseAddress!, $0.count, 0)
    }
    guard got >= 0 else { throw .last(.read, path: path, offset: 0, length: Int64(headerSize)) }
    return try Header(Array(bytes[..<got]), path: path)
  }

  /// Under another name first: a crash leaves no half of it.
  private static func make(
    path: FilePath, subject: Subject, size: Int64, permissions: UInt32
  ) throws(MappingError) -> Journal {
    var identifier = [UInt8](repeating: 0, count: 16)
    guard unsafe identifier.withUnsafeMutableBytes({ unsafe pgw_random($0.baseAddress!, 16) }) == 0 else {
      throw .last(.create, path: path)
    }
    let slot = Slot(epoch: 1, generation: 0, size: size)
    var bytes = Header.magic + [UInt8](repeating: 0, count: (1 << 16) - 8)
    bytes.store(version.littleEndian, at: 8)
    bytes.replaceSubrange(16..<32, with: identifier)
    bytes.store(subject.inode.littleEndian, at: 32)
    bytes.store(subject.birth.littleEndian, at: 40)
    bytes.store(checksum(bytes[..<48], 0).littleEndian, at: 48)
    let slotBytes = slot.encoded(seed: checksum(identifier[...], 0))
    let slotOffset = Int(slotOffsets[Int(slot.epoch % 2)])
    bytes.replaceSubrange(slotOffset..<slotOffset + Slot.byteCount, with: slotBytes)

    let draft = path.appending(suffix: ".new")
    // What a crash has left of an earlier attempt.
    _ = unsafe draft.withPlatformString { unsafe pgw_storage_unlink($0) }
    let made = unsafe draft.withPlatformString {
      unsafe pgw_storage_open($0, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW, CInt(permissions & 0o666))
    }
    guard made >= 0 else { throw .last(.create, path: draft) }
    let descriptor = OwnedDescriptor(number: made)
    do throws(MappingError) {
      guard unsafe bytes.withUnsafeBytes({ unsafe pgw_storage_write(made, $0.baseAddress!, $0.count, 0) }) == 0,
        pgw_storage_sync(made, PGW_SYNC_DEVICE) == 0
      else { throw .last(.create, path: draft) }
      let renamed = unsafe draft.withPlatformString { from in
        unsafe path.withPlatformString { to in unsafe pgw_storage_rename(from, to) }
      }
      guard renamed == 0 else { throw .last(.create, path: path) }
    } catch {
      _ = unsafe draft.withPlatformString { unsafe pgw_storage_unlink($0) }
      throw error
    }
    try path.syncFolder(.create)
    let header = try Header(Array(bytes[..<headerSize]), path: path)
    return Journal(descriptor: descriptor, path: path, header: header, slot: slot, capacity: Int64(bytes.count))
  }
}

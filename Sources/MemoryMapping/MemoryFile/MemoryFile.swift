// SPDX-License-Identifier: Apache-2.0

internal import CPlatform
public import SystemPackage

/// A file without a name that lives in memory and can be sealed: what to hand to another process that must trust its size.
///
/// ```swift
/// let file = try MemoryFile(name: "table", byteCount: 1 << 20)
/// try file.write(header, at: 0)
/// try file.seal([.shrink, .grow, .write])
/// var options = MappedFile.Options()
/// options.stability = .sealed
/// let map = try file.map(options: options)      // nobody can cut it: no fault is possible
/// ```
///
/// C counterpart: `memfd_create`. On Darwin it is an unlinked shared memory object, which cannot be sealed.
public struct MemoryFile: ~Copyable, Sendable {
  private let owned: OwnedDescriptor
  private var rawDescriptor: CInt { owned.number }
  /// The name shown in /proc/PID/fd; not a path.
  public let name: String

  /// What the kernel refuses from now on, to everybody and for ever.
  public struct Seals: OptionSet, Sendable, Hashable {
    public let rawValue: CInt
    public init(rawValue: CInt) { self.rawValue = rawValue }
    /// No further seals. C: `F_SEAL_SEAL`.
    public static let seal = Seals(rawValue: CInt(PGW_SEAL_SEAL))
    /// The file cannot become shorter. Punching holes stays possible, which reads as zeros. C: `F_SEAL_SHRINK`.
    public static let shrink = Seals(rawValue: CInt(PGW_SEAL_SHRINK))
    /// The file cannot become longer. C: `F_SEAL_GROW`.
    public static let grow = Seals(rawValue: CInt(PGW_SEAL_GROW))
    /// The content cannot change, by holes neither. Refused while a writable mapping exists. C: `F_SEAL_WRITE`.
    public static let write = Seals(rawValue: CInt(PGW_SEAL_WRITE))
    /// No new way to write; writable mappings that exist go on. C: `F_SEAL_FUTURE_WRITE`.
    public static let futureWrite = Seals(rawValue: CInt(PGW_SEAL_FUTURE_WRITE))
  }

  /// Makes a memory file of `byteCount` zero bytes.
  ///
  /// - Parameters:
  ///   - name: for people who look into /proc; at most 249 bytes.
  ///   - byteCount: its size; changed by ``resize(to:)``.
  ///   - hugePages: back it by the pool of huge pages (2 MiB); the size must be a multiple of that. Not on Darwin.
  /// - Throws: ``MappingError``: `invalidRange`, `tooManyOpenFiles`, `memoryExhausted`, `notSupported`.
  public init(name: String, byteCount: Int, hugePages: Bool = false) throws(MappingError) {
    guard byteCount >= 0, name.utf8.count <= 249, !name.utf8.contains(0) else {
      throw MappingError(
        .invalidRange, operation: .open, length: Int64(byteCount),
        detail: .note("a memory file's name has at most 249 bytes, its size is not negative"))
    }
    owned = try Self.make(name: name, byteCount: byteCount, hugePages: hugePages)
    self.name = name
  }

  private static func make(name: String, byteCount: Int, hugePages: Bool) throws(MappingError) -> OwnedDescriptor {
    let flags = PGW_MEMFD_CLOEXEC | PGW_MEMFD_ALLOW_SEALING | (hugePages ? PGW_MEMFD_HUGETLB : 0)
    let descriptor = unsafe pgw_memfd_create(name, UInt32(flags))
    guard descriptor >= 0 else { throw .last(.open) }
    let owned = OwnedDescriptor(number: descriptor)
    guard pgw_truncate(descriptor, Int64(byteCount)) == 0 else { throw .last(.resize, length: Int64(byteCount)) }
    return owned
  }

  /// The descriptor, to pass to another process. It stays this value's: do not close it.
  public var descriptor: FileDescriptor { FileDescriptor(rawValue: rawDescriptor) }

  /// Bytes in the file now.
  public var byteCount: Int {
    get throws(MappingError) {
      var found = pgw_stat()
      guard unsafe pgw_fstat(rawDescriptor, &found) == 0 else { throw .last(.stat) }
      return Int(found.size)
    }
  }

  /// Sets the size. New bytes are zeros.
  ///
  /// - Throws: `readOnly` when a seal forbids it, `noSpace`, `invalidRange`. C: `ftruncate`.
  public borrowing func resize(to byteCount: Int) throws(MappingError) {
    guard byteCount >= 0 else { throw MappingError(.invalidRange, operation: .resize, length: Int64(byteCount)) }
    guard pgw_truncate(rawDescriptor, Int64(byteCount)) == 0 else { throw .last(.resize, length: Int64(byteCount)) }
  }

  /// Adds seals. They cannot be taken away.
  ///
  /// - Throws: `notSealed` when the file is sealed against sealing, `busy` for `.write` while a writable mapping exists.
  ///   C: `fcntl(F_ADD_SEALS)`.
  public borrowing func seal(_ seals: Seals) throws(MappingError) {
    guard pgw_add_seals(rawDescriptor, seals.rawValue) == 0 else { throw .last(.seal) }
  }

  /// The seals that hold. C: `fcntl(F_GET_SEALS)`.
  public var seals: Seals { Seals(rawValue: max(0, pgw_get_seals(rawDescriptor))) }

  /// Writes `bytes` at `offset`, all of them or an error.
  ///
  /// - Throws: `readOnly` when sealed, `noSpace`, `invalidRange`. C: `pwrite`.
  public borrowing func write(_ bytes: RawSpan, at offset: Int) throws(MappingError) {
    guard offset >= 0 else { throw MappingError(.invalidRange, operation: .write, offset: Int64(offset)) }
    let descriptor = rawDescriptor
    var done = 0
    while done < bytes.byteCount {
      let put = unsafe bytes.withUnsafeBytes { buffer in
        unsafe pgw_pwrite(descriptor, buffer.baseAddress! + done, buffer.count - done, Int64(offset + done))
      }
      guard put > 0 else {
        throw .last(.write, offset: Int64(offset + done), length: Int64(bytes.byteCount - done))
      }
      done += put
    }
  }

  /// Maps it for reading. The mapping keeps the memory alive, also after this value is gone.
  ///
  /// - Throws: as ``MappedFile/init(descriptor:offset:length:options:path:)``.
  public borrowing func map(
    offset: Int64 = 0, length: Int? = nil, options: MappedFile.Options = .init()
  ) throws(MappingError) -> MappedFile {
    try MappedFile(descriptor: descriptor, offset: offset, length: length, options: options)
  }

  /// Closes the descriptor, and tells if that failed.
  public consuming func close() throws(MappingError) {
    if let failure = owned.close() { throw MappingError(failure, .close) }
  }
}

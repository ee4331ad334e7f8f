// SPDX-License-Identifier: Apache-2.0

internal import CPlatform
public import MemoryMapping
public import SystemPackage

#if canImport(Glibc)
  internal import Glibc
#elseif canImport(Musl)
  internal import Musl
#elseif canImport(Darwin)
  internal import Darwin
#endif

/// One pass over a file of any size, in constant memory, that leaves the page cache as it found it.
///
/// Pages that the pass itself brought into memory are dropped behind it. Pages that were there before stay: those of this file,
/// which somebody may be using, and those of every other file, which the pass would otherwise push out.
///
/// ```swift
/// let file = try StreamedFile("backup.img")
/// var sum: UInt64 = 0
/// let report = try file.forEachChunk { chunk, offset in
///   for at in chunk.byteOffsets { sum &+= UInt64(chunk.unsafeLoad(fromByteOffset: at, as: UInt8.self)) }
///   return .continue
/// }
/// print(report.bytes, report.method, report.pagesDropped)
/// ```
///
/// **How it reads.** By one of four ``Method``s. With `.measured` the first windows of a large file are read by each in turn, and
/// the fastest goes on; parts that are in memory already are a contest of their own, between mapping and reading. Small files
/// are simply read. What a file system refuses is read otherwise, and ``StreamReport/methods`` says what and why.
///
/// **What it needs.** One window of at most 8 MiB, what the kernel reads ahead of it (twice the device's read-ahead), and one buffer,
/// whatever the file's size. Where less memory is left than that deserves, as under the limit of a control group, the kernel's
/// read-ahead is switched off for the pass, and it asks for six windows ahead by itself, each a thirty-second of what is left.
///
/// **What others can do to it.** The size is taken when the file is opened: what is appended later is not read. A file that is
/// cut ends the pass with `truncated` and the place, never with a signal. Bytes before the cut have been given out. With
/// `.map`, the chunk in which the cut lies may have been given with made-up zeros before the error comes: results of a pass
/// that throws are to be thrown away.
///
/// Pipes, FIFOs, character devices and the files of /proc are read in order; there is nothing to drop.
///
/// Several passes can be made, also at the same time from several threads: each has its own opening of the file.
public struct StreamedFile: ~Copyable, Sendable {
  /// The path it was opened by, or that was given for messages.
  public let path: FilePath?
  /// How it is read.
  public let method: Method
  /// Bytes that are given at a time, as asked.
  public let chunk: ChunkSize
  /// Bytes in the pass; nil for what has no size, such as a pipe.
  public let count: Int64?
  /// The first byte of the pass, from the start of the file or stream.
  public let offset: Int64
  /// Bytes wanted; nil for all there are.
  internal let length: Int64?
  /// Bytes in the file.
  internal let size: Int64
  /// Up to so many bytes, neither the device nor the memory that is left is asked about.
  internal static let small: Int64 = 1 << 20
  internal let device: UInt64
  internal let kind: EntryKind
  internal let file: ObservedFile

  /// The ways to read a window.
  public enum Method: String, Sendable, Hashable, CaseIterable {
    /// Whichever of the others is fastest here.
    case measured
    /// Map it, guarded as `MappedFile`. Nothing is copied. C: `mmap`, `munmap`.
    case map
    /// Read into one buffer that is used again and again. C: `pread`.
    case read
    /// The same, with the kernel dropping what it brought in. Linux 6.14, some file systems. C: `preadv2`, `RWF_DONTCACHE`.
    case dontCache
    /// Past the page cache, from the device into the buffer. Some file systems. C: `O_DIRECT`.
    case direct
  }

  /// How many bytes are given at a time.
  public enum ChunkSize: Sendable, Hashable {
    /// 1 MiB, or less where memory is scarce.
    case automatic
    /// At most so many: rounded up to whole pages, and limited to a sixteenth of the memory that this process may
    /// still use, and to 1 GiB.
    case bytes(Int)
  }

  /// What to do after a chunk, a line or a record.
  public enum Step: Sendable, Hashable {
    case `continue`
    /// End the pass; the report says so.
    case stop
  }

  /// Opens the file at `path`. Nothing is read yet.
  ///
  /// - Parameters:
  ///   - path: a file, block device, FIFO or character device.
  ///   - method: how to read; one that is refused here is replaced by `.read`.
  ///   - chunk: bytes that are given at a time.
  ///   - offset: first byte. Of a pipe so many bytes are skipped.
  ///   - length: bytes; nil for all up to the end.
  /// - Throws: `MappingError`: `notFound`, `permissionDenied`, `isDirectory`, `unsupportedFileType` for a socket,
  ///   `invalidRange` for bytes that a file does not have or a chunk without bytes.
  /// - Complexity: O(1); two system calls. C: `open`, `fstat`.
  public init(
    _ path: FilePath, method: Method = .measured, chunk: ChunkSize = .automatic, offset: Int64 = 0,
    length: Int64? = nil
  ) throws(MappingError) {
    try self.init(try ObservedFile(path), path, method, chunk, offset, length)
  }

  /// Uses an open file. The caller's descriptor stays the caller's, and its position is not used and, but for pipes and what else
  /// has no size, does not move.
  ///
  /// - Parameters:
  ///   - descriptor: open for reading.
  ///   - path: for messages only.
  ///   - method: as for a path.
  ///   - chunk: as for a path.
  ///   - offset: as for a path.
  ///   - length: as for a path.
  /// - Throws: as ``init(_:method:chunk:offset:length:)``.
  public init(
    descriptor: FileDescriptor, path: FilePath? = nil, method: Method = .measured, chunk: ChunkSize = .automatic,
    offset: Int64 = 0, length: Int64? = nil
  ) throws(MappingError) {
    let copy = fcntl(descriptor.rawValue, F_DUPFD_CLOEXEC, 0)
    guard copy >= 0 else { throw .failed(.open, path ?? "") }
    try self.init(ObservedFile(owning: copy), path, method, chunk, offset, length)
  }

  private init(
    _ file: consuming ObservedFile, _ path: FilePath?, _ method: Method, _ chunk: ChunkSize, _ offset: Int64,
    _ length: Int64?
  ) throws(MappingError) {
    let stat = try file.stat(path ?? "")
    let kind = EntryKind(mode: stat.mode)
    let size = kind == .blockDevice ? max(0, pgw_block_device_size(file.number)) : stat.size
    switch kind {
    case .directory: throw MappingError(.isDirectory, operation: .read, path: path)
    case .symbolicLink, .other: throw MappingError(.unsupportedFileType, operation: .read, path: path)
    case .regular, .blockDevice, .fifo, .socket, .characterDevice: break
    }
    // A file of /proc has no size, and an empty file is at its end: both are read in order.
    let hasSize = (kind == .regular || kind == .blockDevice) && size > 0
    guard offset >= 0, length ?? 0 >= 0, !offset.addingReportingOverflow(length ?? 0).overflow,
      !hasSize || offset <= size && length ?? 0 <= size - offset
    else {
      throw MappingError(
        .invalidRange, operation: .read, path: path, offset: offset, length: length, detail: .fileSize(size))
    }
    if case .bytes(let bytes) = chunk, bytes < 1 {
      throw MappingError(
        .invalidRange, operation: .read, path: path, length: Int64(bytes), detail: .note("a chunk has bytes"))
    }
    self.file = file
    self.path = path
    self.method = method
    self.chunk = chunk
    self.offset = offset
    self.length = length
    self.size = size
    self.kind = kind
    device = stat.device
    count = hasSize ? length ?? size - offset : nil
  }
}

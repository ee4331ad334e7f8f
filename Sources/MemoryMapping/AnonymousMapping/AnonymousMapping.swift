// SPDX-License-Identifier: Apache-2.0

internal import CPlatform
internal import SystemPackage

/// Memory of this process that belongs to no file: zeros at first, given back as a whole.
///
/// Use it for large buffers with a say in placement (huge pages, locking, fork and core-dump policy), and with
/// ``Options/Sharing/shared`` for memory that forked children see too.
///
/// ```swift
/// var scratch = try AnonymousMapping(byteCount: 64 << 20, options: .init(hugePages: .prefer))
/// var bytes = scratch.mutableBytes
/// bytes.storeBytes(of: 42, as: UInt64.self)
/// ```
///
/// C counterpart: `mmap(MAP_ANONYMOUS)`.
@safe
public struct AnonymousMapping: ~Copyable, Sendable {
  private let range: MappedRange
  /// Bytes from the start of the mapping to the usable ones: a guard page, if one was asked for.
  private let front: Int
  /// Usable bytes, as asked for.
  public let count: Int
  /// What may be done with the bytes now.
  public private(set) var access: Access = .readWrite

  /// What the processor lets this process do with the pages.
  public enum Access: Sendable, Hashable { case none, readOnly, readWrite }

  /// How to map.
  public struct Options: Sendable, Hashable {
    /// Who sees the stores.
    public var sharing = Sharing.private
    /// The size of the pages. Huge ones come from the pool that the administrator reserved (vm.nr_hugepages).
    public var pageSize = PageSize.system
    /// Whether to ask for transparent huge pages; a hint.
    public var hugePages = MappedFile.Options.HugePages.system
    /// An inaccessible page before and behind, so that a stray pointer traps instead of spoiling a neighbour. Not with huge
    /// page sizes.
    public var guardPages = false
    /// Back every page now.
    public var populate = false
    /// Keep the pages in memory.
    public var lock = MappedFile.Options.Lock.none
    /// What a forked child sees.
    public var fork = Fork.inherit
    /// Whether a core dump holds the pages: `.exclude` for secrets and for what is large and dull.
    public var coreDump = MappedFile.Options.CoreDump.include
    /// Do not reserve swap.
    public var noReserve = false
    /// A name in /proc/PID/maps, where the kernel offers that; best effort.
    public var name: String? = nil

    public init(
      sharing: Sharing = .private, pageSize: PageSize = .system, hugePages: MappedFile.Options.HugePages = .system
    ) {
      self.sharing = sharing
      self.pageSize = pageSize
      self.hugePages = hugePages
    }

    public enum Sharing: Sendable, Hashable {
      case `private`
      /// Forked children share it.
      case shared
    }
    public enum PageSize: Sendable, Hashable { case system, huge2MiB, huge1GiB }
    public enum Fork: Sendable, Hashable {
      case inherit
      /// A hole in the child. C: `MADV_DONTFORK`.
      case omit
      /// Zeros in the child: for keys and random state. Private mappings only. C: `MADV_WIPEONFORK`.
      case wipe
    }
  }

  /// Maps `byteCount` zero bytes.
  ///
  /// - Parameters:
  ///   - byteCount: 0 gives an empty mapping; rounded up to whole pages inside.
  ///   - options: see ``Options``.
  /// - Throws: ``MappingError``: `invalidRange` for a negative count, `addressSpaceExhausted`, `memoryExhausted` (no huge pages
  ///   in the pool), `lockLimitReached`, `notSupported`.
  public init(byteCount: Int, options: Options = .init()) throws(MappingError) {
    let unit: Int =
      switch options.pageSize {
      case .system: SystemPage.size
      case .huge2MiB: 2 << 20
      case .huge1GiB: 1 << 30
      }
    guard byteCount >= 0, let rounded = PageMath(pageSize: unit).up(byteCount) else {
      throw MappingError(.invalidRange, operation: .map, length: Int64(byteCount))
    }
    let isGuarded = options.guardPages && options.pageSize == .system && byteCount > 0
    let front = isGuarded ? SystemPage.size : 0
    range = try Self.map(rounded, front: front, options)
    self.front = front
    count = byteCount
  }

  private static func map(_ length: Int, front: Int, _ options: Options) throws(MappingError) -> MappedRange {
    guard length > 0 else { return MappedRange(emptyWith: -1) }
    let (whole, overflow) = length.addingReportingOverflow(2 * front)
    guard !overflow else { throw MappingError(.invalidRange, operation: .map, length: Int64(length)) }
    var flags = PGW_MAP_ANONYMOUS | (options.sharing == .shared ? PGW_MAP_SHARED : PGW_MAP_PRIVATE)
    switch options.pageSize {
    case .system: break
    case .huge2MiB: flags |= PGW_MAP_HUGETLB_2M
    case .huge1GiB: flags |= PGW_MAP_HUGETLB_1G
    }
    if options.noReserve { flags |= PGW_MAP_NORESERVE }
    if options.populate, front == 0 { flags |= PGW_MAP_POPULATE }
    guard let base = unsafe pgw_map(nil, whole, front > 0 ? 0 : 3, CInt(flags), -1, 0) else {
      var error = MappingError.last(.map, length: Int64(whole))
      if options.pageSize != .system, error.errno == .noMemory {
        error.code = .memoryExhausted
        error.detail = .note("the pool of huge pages is too small: see vm.nr_hugepages")
      }
      throw error
    }
    // From here on the range owns the pages: a throw gives them back, in whole huge pages.
    let range = unsafe MappedRange(unguarded: base, length: whole)
    if front > 0 {
      guard unsafe pgw_protect(base + front, length, 3) == 0 else { throw .last(.protect) }
      if options.populate { _ = unsafe pgw_madvise(base + front, length, CInt(PGW_MADV_POPULATE_WRITE)) }
    }
    try unsafe apply(options, base + front, length)
    return range
  }

  private static func apply(
    _ options: Options, _ start: UnsafeMutableRawPointer, _ length: Int
  ) throws(MappingError) {
    switch options.hugePages {
    case .system: break
    case .prefer: _ = unsafe pgw_madvise(start, length, CInt(PGW_MADV_HUGEPAGE))
    case .avoid: _ = unsafe pgw_madvise(start, length, CInt(PGW_MADV_NOHUGEPAGE))
    }
    // Policies about secrets must not fail silently; hints may.
    let policy: Int? =
      switch options.fork {
      case .inherit: nil
      case .omit: PGW_MADV_DONTFORK
      case .wipe: PGW_MADV_WIPEONFORK
      }
    if let policy, unsafe pgw_madvise(start, length, CInt(policy)) != 0 { throw .last(.advise, length: Int64(length)) }
    if options.coreDump == .exclude, unsafe pgw_madvise(start, length, CInt(PGW_MADV_DONTDUMP)) != 0 {
      throw .last(.advise, length: Int64(length))
    }
    if let name = options.name { _ = unsafe pgw_name_mapping(start, length, name) }
    if options.lock != .none, unsafe pgw_lock(start, length, options.lock == .onFault) != 0 {
      throw .last(.lock, length: Int64(length))
    }
  }

  /// The bytes, for reading.
  public var bytes: RawSpan {
    @_lifetime(borrow self)
    get {
      precondition(access != .none, "AnonymousMapping.bytes: the mapping is protected against reading")
      let span = unsafe RawSpan(_unsafeStart: range.base + front, byteCount: count)
      return unsafe _overrideLifetime(span, borrowing: self)
    }
  }

  /// The bytes, for writing. While the span lives, the mapping can be used by nothing else.
  public var mutableBytes: MutableRawSpan {
    @_lifetime(&self)
    mutating get {
      precondition(access == .readWrite, "AnonymousMapping.mutableBytes: the mapping is protected against writing")
      let span = unsafe MutableRawSpan(_unsafeStart: range.base + front, byteCount: count)
      return unsafe _overrideLifetime(span, mutating: &self)
    }
  }

  /// Changes what may be done with all of the bytes. The views obey: they refuse what is not allowed.
  ///
  /// - Throws: ``MappingError`` as mprotect refuses. C: `mprotect`.
  public mutating func protect(_ access: Access) throws(MappingError) {
    if range.length > 0 {
      let bits: CInt =
        switch access {
        case .none: 0
        case .readOnly: 1
        case .readWrite: 3
        }
      guard unsafe pgw_protect(range.base + front, range.length - 2 * front, bits) == 0 else { throw .last(.protect) }
    }
    self.access = access
  }

  /// Tells the kernel how the bytes will be used. C: `madvise`.
  public borrowing func advise(_ advice: Advice) throws(MappingError) {
    guard count > 0 else { return }
    guard unsafe pgw_madvise(range.base + front, range.length - 2 * front, advice.value) == 0 else {
      throw .last(.advise, length: Int64(count))
    }
  }

  /// Throws the content away: the bytes read as zeros afterwards. C: `madvise(MADV_DONTNEED)`.
  public mutating func discard() throws(MappingError) {
    guard count > 0 else { return }
    guard unsafe pgw_madvise(range.base + front, range.length - 2 * front, CInt(PGW_MADV_DONTNEED)) == 0 else {
      throw .last(.advise, length: Int64(count))
    }
  }

  /// Unmaps, and tells if that failed.
  public consuming func close() throws(MappingError) {
    if let failure = range.close() { throw MappingError(failure, .unmap) }
  }
}

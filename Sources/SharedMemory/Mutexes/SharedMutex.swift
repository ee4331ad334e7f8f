// SPDX-License-Identifier: Apache-2.0

internal import CPlatform
internal import Synchronization
internal import SystemPackage

/// A lock that processes share, and the bytes that it protects. The death of its owner, at any instruction, gives it to the next one, who is told.
///
/// ```swift
/// let account = try region.mutex("account")
/// try account.withLock { bytes in
///   bytes.storeBytes(of: balance, as: Int64.self)
/// } recovering: { bytes in
///   // The one before died in the middle. Make the bytes right, or say that it cannot be done.
///   bytes.storeBytes(of: 0, as: Int64.self)
///   return .repaired
/// }
/// ```
///
/// Nobody can pass over a death: who locks must say how it is answered. `broken` is final: from then on every lock throws `broken`, in every process.
/// Whoever dies while repairing leaves it to the next one.
///
/// All who use it must be of one PID namespace, and two containers most often are of two: the kernel knows the owner by a number that means another thread
/// elsewhere. Who is of another one, while somebody of the first is attached, is told `notSupported`. Rings, cells and events know no such limit.
///
/// A lock belongs to the thread that took it; so the closure cannot suspend. For peers that trust each other: a peer that writes over the lock's own
/// bytes can do the others harm.
///
/// C counterparts: `pthread_mutexattr_setrobust`, `pthread_mutex_clocklock`, `pthread_mutex_consistent`. Not on Darwin, which has no robust mutexes.
@safe
public struct SharedMutex: Sendable {
  private let storage: RegionStorage
  private let part: String
  private let offset: Int
  /// Bytes that it protects.
  public let byteCount: Int

  internal init(_ storage: RegionStorage, part: String, offset: Int, byteCount: Int) {
    self.storage = storage
    self.part = part
    self.offset = offset
    self.byteCount = byteCount
  }

  /// How a death was answered.
  public enum Recovery: Sendable, Hashable {
    /// The protected bytes are right again.
    case repaired
    /// They cannot be made right. Final.
    case broken
  }

  /// What the part begins with, before the protected bytes: the mutex, the mark of a broken one, and a rest.
  internal static let size = 128

  /// The bytes of a mutex that nobody has.
  internal static func image(_ region: String?) throws(SharedMemoryError) -> [UInt8] {
    var bytes = [UInt8](repeating: 0, count: PGW_MUTEX_SIZE)
    let result = unsafe bytes.withUnsafeMutableBytes { unsafe pgw_mutex_image($0.baseAddress) }
    guard result == 0 else {
      let errno = Errno(rawValue: result)
      throw SharedMemoryError(SharedMemoryError.code(of: errno), "create a mutex in", region: region, errno: errno)
    }
    return bytes
  }

  private var address: UnsafeMutableRawPointer { unsafe storage.base + offset }

  /// Runs `body` with the lock, over the bytes that it protects.
  ///
  /// - Parameters:
  ///   - deadline: until when to wait for it.
  ///   - body: must not suspend. The span cannot leave it.
  ///   - recovering: runs before, with the lock, when the owner before has died with it.
  /// - Throws: ``SharedMemoryError``: `timedOut`, `broken`, `deadlock`, `faulted`, `forked`.
  /// - Complexity: 60 ns when nobody has it.
  @available(*, noasync, message: "it blocks the thread")
  @inlinable
  public func withLock<R>(
    until deadline: Deadline = .never, _ body: (inout MutableRawSpan) -> R,
    recovering: (inout MutableRawSpan) -> Recovery
  ) throws(SharedMemoryError) -> R {
    guard let start = unsafe try lock(until: deadline, recovering) else { throw error(.timedOut) }
    return unsafe try run(start, body)
  }

  /// Runs `body` with the lock if nobody has it now; nil otherwise.
  ///
  /// - Throws: as ``withLock(until:_:recovering:)``.
  @inlinable
  public func tryLock<R>(
    _ body: (inout MutableRawSpan) -> R, recovering: (inout MutableRawSpan) -> Recovery
  ) throws(SharedMemoryError) -> R? {
    guard let start = unsafe try lock(until: .now, recovering) else { return nil }
    return unsafe try run(start, body)
  }

  @inlinable
  @inline(__always)
  internal func run<R>(
    _ start: UnsafeMutableRawPointer, _ body: (inout MutableRawSpan) -> R
  ) throws(SharedMemoryError) -> R {
    var span = unsafe MutableRawSpan(_unsafeStart: start, byteCount: byteCount)
    let value = body(&span)
    try unlock()
    return value
  }

  /// Takes the lock. The bytes that it protects; nil at the deadline.
  @usableFromInline
  internal func lock(
    until deadline: Deadline, _ recovering: (inout MutableRawSpan) -> Recovery
  ) throws(SharedMemoryError) -> UnsafeMutableRawPointer? {
    if storage.isForeign { throw error(.forked) }
    let result = Errno(rawValue: unsafe pgw_mutex_lock(address, deadline.nanoseconds))
    if result == .resourceBusy || result == .timedOut { return nil }
    guard result.rawValue == 0 || result.rawValue == Self.ownerDead else { throw failure(result) }
    let start = unsafe address + Self.size
    if result.rawValue == Self.ownerDead {
      var span = unsafe MutableRawSpan(_unsafeStart: start, byteCount: byteCount)
      if unsafe brokenMark.pointee.load(ordering: .relaxed) == 0, recovering(&span) == .broken {
        // Before the lock is right again: whoever comes after our own death finds it.
        unsafe brokenMark.pointee.store(1, ordering: .relaxed)
      }
      _ = unsafe pgw_mutex_consistent(address)
    }
    guard unsafe brokenMark.pointee.load(ordering: .relaxed) == 0 else {
      _ = unsafe pgw_mutex_unlock(address)
      throw error(.broken)
    }
    return unsafe start
  }

  @usableFromInline
  internal func unlock() throws(SharedMemoryError) {
    _ = unsafe pgw_mutex_unlock(address)
    try storage.checkFault("lock")
  }

  /// 1 once what the mutex protects was given up; read and written with the lock. The state that POSIX has for it (ENOTRECOVERABLE) is not used: in the C
  /// library of GNU, a `pthread_mutex_trylock` that meets it leaves the mutex locked, and everybody else waits for ever.
  private var brokenMark: UnsafeMutablePointer<Atomic<UInt32>> {
    unsafe (address + Int(PGW_MUTEX_SIZE)).assumingMemoryBound(to: Atomic<UInt32>.self)
  }

  /// Sees to it that all users are of one PID namespace: the word of a robust mutex has its owner's thread number, and both the C library (is it
  /// mine?) and the kernel (has it died?) compare numbers of different namespaces without knowing.
  fileprivate func join() throws(SharedMemoryError) {
    let own = pgw_pid_namespace()
    let word = unsafe (address + Int(PGW_MUTEX_SIZE) + 8).assumingMemoryBound(to: Atomic<UInt64>.self)
    while own != 0 {
      let found = unsafe word.pointee.load(ordering: .acquiring)
      if found == own { return }
      // Those of the other one may have ended, as a container's restart has it.
      if found != 0, storage.peers.entries().contains(where: { $0.pidNamespace == found && !$0.isDead }) {
        throw SharedMemoryError(
          .notSupported, "use", region: storage.name, part: part,
          note: "it is used in another PID namespace, and a mutex works within one; use a ring, a cell or an event")
      }
      _ = unsafe word.pointee.compareExchange(expected: found, desired: own, ordering: .acquiringAndReleasing)
    }
  }

  /// EOWNERDEAD, which the system package has no name for.
  private static let ownerDead: CInt = 130

  private func failure(_ errno: Errno) -> SharedMemoryError {
    switch errno {
    case .deadlock: error(.deadlock)
    case .invalidArgument: error(.damaged)
    case let other:
      SharedMemoryError(SharedMemoryError.code(of: other), "lock", region: storage.name, part: part, errno: other)
    }
  }

  @usableFromInline
  internal func error(_ code: SharedMemoryError.Code) -> SharedMemoryError {
    SharedMemoryError(code, "lock", region: storage.name, part: part)
  }
}

extension RegionLayout.Part {
  /// A lock and the bytes that it protects: see ``SharedMutex``.
  public static func mutex(_ name: String, protecting byteCount: Int) -> RegionLayout.Part {
    let (size, overflow) = byteCount.addingReportingOverflow(SharedMutex.size)
    return RegionLayout.Part(name, kind: .mutex, byteCount: overflow || byteCount < 0 ? -1 : size)
  }
}

extension SharedRegion {
  /// A part of kind `mutex`.
  ///
  /// - Throws: ``SharedMemoryError``: `noSuchPart`, `layoutDiffers`, `forked`, `distrusted`, `notSupported` while it is used in another PID namespace.
  public borrowing func mutex(_ name: String) throws(SharedMemoryError) -> SharedMutex {
    let placed = try storage.part(name, .mutex, "use")
    // The C library and the kernel follow pointers in it.
    if distrustsPeers { throw SharedMemoryError(.distrusted, "use", region: storage.name, part: name) }
    guard placed.part.byteCount >= SharedMutex.size else {
      throw SharedMemoryError(.damaged, "use", region: storage.name, part: name, note: "it is too small for a mutex")
    }
    let mutex = SharedMutex(
      storage, part: name, offset: placed.offset, byteCount: placed.part.byteCount - SharedMutex.size)
    try mutex.join()
    return mutex
  }
}

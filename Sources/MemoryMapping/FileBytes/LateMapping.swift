// SPDX-License-Identifier: Apache-2.0

internal import CPlatform
public import Synchronization
internal import SystemPackage

/// A mapping that several readers can find: the owner's box.
internal final class MappingBox: Sendable {
  internal let file: MappedFile
  internal init(_ file: consuming MappedFile) { self.file = file }
}

/// The mapping of a ``FileBytes``: there from the start, or made while it is being read by several threads.
///
/// Published once, never taken back before the owner ends. Readers that come too early just read another way.
@safe
@usableFromInline
internal struct LateMapping: ~Copyable, @unchecked Sendable {
  /// The address of an owned ``MappingBox``, or 0.
  private let box = Atomic<UInt>(0)
  /// The address of the first mapped byte, or 0; stored after ``flag``, so that who sees it sees the flag.
  @usableFromInline internal let start = Atomic<UInt>(0)
  /// The address of the mapping's fault mark.
  @usableFromInline internal let flag = Atomic<UInt>(0)
  /// The number of single reads at which to look again whether mapping pays.
  internal let reviewAt: Atomic<Int>
  /// Single reads so far. Counted without a lock: a lost count delays the switch by one read.
  internal let reads = Atomic<Int>(0)
  /// Reads that still ask whether the bytes are in memory.
  internal let probesLeft = Atomic<Int>(LateMapping.probes)
  /// True while or after somebody makes the mapping, so that nobody else tries.
  private let isTaken = Atomic<Bool>(false)
  /// What the decision became.
  internal let change = Mutex<FileBytes.Plan?>(nil)

  internal static let probes = 2

  internal init(reviewAt: Int) { self.reviewAt = Atomic(reviewAt) }

  /// A checked copy from the mapping, when there is one and no question to the kernel is needed for its proof: the same as
  /// ``MappedFile/copyChecked`` without its way to the errors. False: take the long way.
  @inline(__always)
  internal func copy(_ offset: Int, _ count: Int, _ target: UnsafeMutableRawPointer, _ check: FaultCheck) -> Bool {
    guard let base = unsafe UnsafeMutableRawPointer(bitPattern: start.load(ordering: .acquiring)),
      let word = unsafe UnsafePointer<Atomic<UInt32>>(bitPattern: flag.load(ordering: .relaxed)), check != .stamp
    else { return false }
    let mark = unsafe FaultFlag(word: word)
    guard !mark.isRaised else { return false }
    if check == .pages { return unsafe pgw_copy_checked(target, base + offset, count) == 0 && !mark.isRaised }
    // What a cut leaves behind inside a page is zeros: a copy without any is real.
    guard count <= MappedFile.scanLimit else { return false }
    let copied = unsafe pgw_copy_proving(target, base + offset, count)
    return copied.missing == 0 && copied.has_zero == 0 && !mark.isRaised
  }

  /// The same for a value.
  @inlinable @inline(__always)
  internal func load<T: FixedLayout>(_ offset: Int, as type: T.Type, _ check: FaultCheck) -> T? {
    guard let base = unsafe UnsafeRawPointer(bitPattern: start.load(ordering: .acquiring)),
      let word = unsafe UnsafePointer<Atomic<UInt32>>(bitPattern: flag.load(ordering: .relaxed))
    else { return nil }
    return unsafe checkedLoad(base + offset, as: type, check, FaultFlag(word: word))
  }

  /// The mapping, if there is one. Acquire pairs with the release in ``publish(_:)``.
  @inline(__always)
  internal func withMapping<R>(
    _ body: (borrowing MappedFile) throws(MappingError) -> R
  ) throws(MappingError) -> R? {
    guard let pointer = unsafe UnsafeRawPointer(bitPattern: box.load(ordering: .acquiring)) else { return nil }
    // The box lives as long as self, which is borrowed here: no reference count is touched.
    var result: Result<R, MappingError>? = nil
    unsafe Unmanaged<MappingBox>.fromOpaque(pointer)._withUnsafeGuaranteedRef { box in
      do throws(MappingError) { result = .success(try body(box.file)) } catch { result = .failure(error) }
    }
    return try result?.get()
  }

  internal var isMapped: Bool { box.load(ordering: .acquiring) != 0 }

  /// True for the one caller that may make the mapping.
  internal func claim() -> Bool {
    isTaken.compareExchange(expected: false, desired: true, ordering: .relaxed).exchanged
  }

  internal func publish(_ file: consuming MappedFile) {
    unsafe flag.store(UInt(bitPattern: file.faultFlag.word), ordering: .relaxed)
    let first = unsafe UInt(bitPattern: file.viewStart)
    let reference = unsafe Unmanaged.passRetained(MappingBox(file)).toOpaque()
    box.store(UInt(bitPattern: reference), ordering: .releasing)
    // Last: pairs with the acquire in ``copy``.
    start.store(first, ordering: .releasing)
  }

  deinit {
    if let pointer = unsafe UnsafeRawPointer(bitPattern: box.load(ordering: .acquiring)) {
      unsafe Unmanaged<MappingBox>.fromOpaque(pointer).release()
    }
  }
}
